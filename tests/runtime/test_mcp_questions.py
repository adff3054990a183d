"""What an MCP server that asks back is answered; tests/conformance has the protocol's own scenario."""

from typing import Any

import pytest

from assistant_runtime.tools.mcp_questions import answer_with_defaults, defaults_of

FORM: dict[str, Any] = {
    "type": "object",
    "properties": {"seats": {"type": "integer", "default": 2}, "name": {"type": "string"}},
    "required": ["seats"],
}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        (FORM, {"seats": 2}),
        (FORM | {"required": ["seats", "name"]}, None),
        ({"type": "object", "properties": {}}, {}),
        ({"type": "object", "properties": {"sure": {"type": "boolean", "default": False}}}, {"sure": False}),
    ],
)
def test_a_form_is_answered_by_its_defaults_alone(schema: dict[str, Any], expected: dict[str, Any] | None) -> None:
    assert defaults_of(schema) == expected


async def test_a_question_that_leads_elsewhere_is_declined() -> None:
    from mcp_types import ElicitRequestURLParams  # noqa: PLC0415 - the SDK takes half a second

    asked = ElicitRequestURLParams(message="Sign in.", url="https://example.org", elicitation_id="1")
    assert (await answer_with_defaults()(None, asked)).action == "decline"
