"""What one room tells another: where a server is and which Secret opens it.

A managed, a referenced and an external server give the same Binding, so that the room that uses it can't tell which.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from assistant_operator.assistant import SecretKeyRef


@dataclass(frozen=True)
class Binding:
    """Where a component is reached, and how."""

    host: str
    """Service name within the namespace."""
    port: int
    url: SecretKeyRef
    """Secret key that holds the connection URL, password included."""
    pod_labels: Mapping[str, str]
    """Labels of the pods behind it."""


Bindings = Mapping[str, Binding]
"""Bindings by component name; a component that is off is absent."""
