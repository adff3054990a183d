"""What an MCP server that asks back is answered (elicitation), where nobody can be asked.

A server is told that questions are taken only where the settings say so for it. Then a form is answered with its own
defaults if these are all that it requires, and declined otherwise.
"""

from typing import Any


def answer_with_defaults() -> Any:
    """Give the SDK's callback."""
    from mcp_types import ElicitRequestFormParams, ElicitResult  # noqa: PLC0415 - imported where it is used, as the SDK

    async def answer(_: Any, params: Any) -> ElicitResult:
        if not isinstance(params, ElicitRequestFormParams):
            return ElicitResult(action="decline")
        content = defaults_of(params.requested_schema)
        if content is None:
            return ElicitResult(action="decline")
        return ElicitResult(action="accept", content=content)

    return answer


def defaults_of(schema: dict[str, Any]) -> dict[str, Any] | None:
    """Give a form's defaults; None where it requires what has none."""
    properties = schema.get("properties") or {}
    content = {name: each["default"] for name, each in properties.items() if "default" in each}
    return content if content.keys() >= set(schema.get("required") or ()) else None
