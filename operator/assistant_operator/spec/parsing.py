"""From a resource as the API server has it to the model, or to one sentence that says what is wrong."""

from collections.abc import Mapping
from typing import Any

from pydantic import ValidationError

from assistant_operator import conditions
from assistant_operator.errors import StalledError
from assistant_operator.spec.assistant import AIAssistant


def parse(resource: Mapping[str, Any]) -> AIAssistant:
    """Validate a resource.

    Raises
    ------
    StalledError
        The spec is invalid; the message names each field and what to write there.
    """
    try:
        return AIAssistant.model_validate({"metadata": resource["metadata"], "spec": resource.get("spec") or {}})
    except ValidationError as error:
        raise StalledError(conditions.INVALID_SPEC, explain(error)) from error


def explain(error: ValidationError) -> str:
    """Say in one line per field what is wrong with a resource."""
    lines = []
    for problem in error.errors(include_url=False):
        path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in problem["loc"]).lstrip(".")
        message = problem["msg"].removeprefix("Value error, ")
        if problem["type"] == "extra_forbidden":
            message = "is no field of AIAssistant; `kubectl explain aiassistant.spec` lists them"
        lines.append(message if message.startswith(("spec.", "metadata.")) else f"{path}: {message}")
    return "; ".join(lines)
