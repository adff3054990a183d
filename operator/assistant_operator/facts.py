"""What a pass knows besides the spec: read once before anything is rendered, frozen after that.

Rooms stay pure functions because everything that would need a client, a clock or chance is here.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from assistant_operator.assistant import SecretKeyRef


@dataclass(frozen=True)
class DefaultImages:
    """Images for components whose resource names none: full references, as given to the operator's settings."""

    runtime: str
    redis: str


@dataclass(frozen=True)
class SecretFacts:
    """A Secret as far as rendering needs it: a digest of each key's value, never the value."""

    digests: Mapping[str, str]


@dataclass(frozen=True)
class Facts:
    """Inputs of rendering that are not in the spec. `secrets` holds those of the assistant's namespace, by name."""

    images: DefaultImages
    secrets: Mapping[str, SecretFacts] = field(default_factory=dict)

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
