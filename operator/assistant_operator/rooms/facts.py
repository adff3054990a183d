"""What a pass knows besides the spec: read once before anything is rendered, frozen after that.

Rooms stay pure functions because everything that would need a client, a clock or chance is here.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from assistant_operator.spec.base import KeyRef, Source

Images = Mapping[str, str]
"""Images for containers whose resource names none: full references by name, as the operator's settings have them."""


@dataclass(frozen=True)
class ContentFacts:
    """A Secret or a ConfigMap as far as rendering needs it: a digest of each value that is not blank, no values."""

    digests: Mapping[str, str]


@dataclass(frozen=True)
class PodFacts:
    """A pod as far as rendering needs it: a Job that joins servers to a cluster works on just these pods."""

    name: str
    uid: str
    ip: str


@dataclass(frozen=True)
class Facts:
    """Inputs of rendering that are not in the spec."""

    images: Images
    secrets: Mapping[str, ContentFacts] = field(default_factory=dict)
    """Secrets of the assistant's namespace, by name."""
    config_maps: Mapping[str, ContentFacts] = field(default_factory=dict)
    """The user's ConfigMaps that the spec names, by name."""
    referenced: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Objects of other operators that stand for a component, by the component's name."""
    unserved: frozenset[str] = frozenset()
    """Optional kinds that the cluster does not serve; without a cluster every kind counts as served."""
    pods: Mapping[str, tuple[PodFacts, ...]] = field(default_factory=dict)
    """Pods that have an address and are not ending, by the part of the component that they are, sorted by name."""

    def serves(self, kind: str) -> bool:
        """Tell whether the cluster serves a kind, so that an object of it can be applied."""
        return kind not in self.unserved

    def contents(self, source: Source) -> Mapping[str, ContentFacts]:
        """Return the Secrets, or the ConfigMaps."""
        return self.config_maps if source == "ConfigMap" else self.secrets

    def config_hash(self, references: Iterable[KeyRef], *texts: str) -> str:
        """Hash what a pod reads at its start, so that a change of any of it rolls the pod.

        An object that does not exist yet counts by its name alone, which is how `render` works without a cluster.
        """
        digest = hashlib.sha256()
        named = {(reference.source, reference.name, reference.key) for reference in references}
        # Secrets first and by no more than their names: the hash of a pod that reads no ConfigMap must stay as it was.
        for source, name, key in sorted(named, key=lambda found: (found[0] == "ConfigMap", found)):
            prefix = "" if source == "Secret" else f"{source} "
            known = self.contents(source).get(name)
            digest.update(f"{prefix}{name}/{key}={known.digests.get(key, '') if known else ''}\n".encode())
        for text in texts:
            digest.update(text.encode())
        return digest.hexdigest()[:16]
