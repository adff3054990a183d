"""What a pass knows besides the spec: read once before anything is rendered, frozen after that.

Rooms stay pure functions because everything that would need a client, a clock or chance is here.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from assistant_operator.spec.base import SecretKeyRef

Images = Mapping[str, str]
"""Images for containers whose resource names none: full references by name, as the operator's settings have them."""


@dataclass(frozen=True)
class SecretFacts:
    """A Secret as far as rendering needs it: a digest of each key's value that is not blank, never the value."""

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
    secrets: Mapping[str, SecretFacts] = field(default_factory=dict)
    """Secrets of the assistant's namespace, by name."""
    referenced: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)
    """Objects of other operators that stand for a component, by the component's name."""
    pods: Mapping[str, tuple[PodFacts, ...]] = field(default_factory=dict)
    """Pods that have an address and are not ending, by the part of the component that they are, sorted by name."""

    def config_hash(self, references: Iterable[SecretKeyRef], *texts: str) -> str:
        """Hash what a pod reads at its start, so that a change of any of it rolls the pod.

        A Secret that does not exist yet counts by its name alone, which is how `render` works without a cluster.
        """
        digest = hashlib.sha256()
        for name, key in sorted({(reference.name, reference.key) for reference in references}):
            secret = self.secrets.get(name)
            digest.update(f"{name}/{key}={secret.digests.get(key, '') if secret else ''}\n".encode())
        for text in texts:
            digest.update(text.encode())
        return digest.hexdigest()[:16]
