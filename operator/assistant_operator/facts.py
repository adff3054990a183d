"""What a pass knows besides the spec: read once before anything is rendered, frozen after that.

Rooms stay pure functions because everything that would need a client, a clock or chance is here.
"""

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class DefaultImages:
    """Images for components whose resource names none: full references, as given to the operator's settings."""

    runtime: str
    redis: str


@dataclass(frozen=True)
class SecretFacts:
    """A Secret as far as rendering needs it: which keys it holds and a digest of their values, never the values."""

    keys: frozenset[str]
    digest: str


@dataclass(frozen=True)
class Facts:
    """Inputs of rendering that are not in the spec. `secrets` holds those of the assistant's namespace, by name."""

    images: DefaultImages
    secrets: Mapping[str, SecretFacts] = field(default_factory=dict)

    def config_hash(self, secret_names: Iterable[str], *texts: str) -> str:
        """Hash what a pod reads at its start, so that a change of any of it rolls the pod.

        A Secret that does not exist yet counts by its name alone, which is how `render` works without a cluster.
        """
        digest = hashlib.sha256()
        for name in sorted(set(secret_names)):
            secret = self.secrets.get(name)
            digest.update(f"{name}={secret.digest if secret else ''}\n".encode())
        for text in texts:
            digest.update(text.encode())
        return digest.hexdigest()[:16]
