"""What one room tells another: where a server is and what opens it.

A managed, a referenced and an external server give the same Binding, so that the room that uses it can't tell which.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from assistant_operator.spec.base import External, KeyRef, SecretKeyRef


@dataclass(frozen=True)
class Binding:
    """Where a component is reached, and how."""

    url: str | SecretKeyRef
    """Connection URL, or the Secret key that holds it where a password is part of it."""
    username: str | SecretKeyRef | None = None
    """User name that stands beside the URL, as other operators' objects or Secrets have it."""
    password: SecretKeyRef | None = None
    """Password that stands beside the URL."""
    api_key: SecretKeyRef | None = None
    """Key that is sent with each request."""
    ca: KeyRef | None = None
    """Certificates (PEM) to trust; None: those that the client trusts by itself."""
    settings: Mapping[str, str] = field(default_factory=dict)
    """What else a client must know, by the end of its variable's name: {"TOPOLOGY": "cluster"}."""
    secret_settings: Mapping[str, SecretKeyRef] = field(default_factory=dict)
    """The same for what is in Secrets: {"SENTINEL_PASSWORD": ...}."""
    pod_labels: Mapping[str, str] = field(default_factory=dict)
    """Labels of the pods behind it; empty for pods that this operator does not run."""
    port: int | None = None
    """Port of those pods."""

    def references(self) -> Iterator[KeyRef]:
        """Yield every key of a Secret or ConfigMap that a client reads."""
        for value in (self.url, self.username, self.password, self.api_key, self.ca, *self.secret_settings.values()):
            if isinstance(value, KeyRef):
                yield value


Bindings = Mapping[str, Binding]
"""Bindings by component name; a component that is off is absent."""


def external(server: External) -> Binding:
    """Return the binding of a server that runs elsewhere."""
    url = getattr(server, "url", None) or server.url_from
    return Binding(url=url, ca=server.ca_from)  # type: ignore[arg-type]  # one of the two, by the model's rule
