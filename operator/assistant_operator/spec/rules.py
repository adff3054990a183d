"""Validation that spans fields, stated once for the API server (CEL) and once for Python.

The API server refuses a bad resource before the operator sees it. `assistant-operator render` has no API server, and a
cluster may still hold an older CRD, so each rule carries the same check as a function; a test feeds both
the same input.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Rule:
    """One cross-field rule of a model.

    `cel` is the expression with `self` as the model's object, `message` says which field is wrong and what to write,
    `holds` is the same check on the validated model, `field_path` (CEL syntax, as in `.providers`) locates the error.
    """

    cel: str
    message: str
    holds: Callable[[Any], bool]
    field_path: str | None = None

    def schema(self) -> dict[str, str]:
        """Return the rule as an entry of `x-kubernetes-validations`."""
        entry = {"rule": self.cel, "message": self.message}
        if self.field_path:
            entry["fieldPath"] = self.field_path
        return entry
