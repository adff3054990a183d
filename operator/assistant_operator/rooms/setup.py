"""What a component has done once its servers run: they are joined to a cluster, or given a password."""

from collections.abc import Sequence
from dataclasses import dataclass

from assistant_operator.rooms.facts import PodFacts
from assistant_operator.rooms.manifests import Object
from assistant_operator.spec.base import ManagedServer


@dataclass(frozen=True)
class Setup:
    """One program that makes servers ready, in the servers' own image."""

    component: str
    """Label value of the servers' pods."""
    settings: ManagedServer
    """What the spec says of the servers."""
    image: str
    """Name of the default image, for where the spec names none."""
    pods: Sequence[PodFacts]
    """The pods that it works on."""
    user_id: int
    command: Sequence[str]
    env: Sequence[Object]
    volumes: Sequence[Object]
    mounts: Sequence[Object]
    reads: str
    """A hash of what it reads at its start."""
