"""Nonsense in the shape of answers: what a provider sends when it is at its worst."""

import random
from collections.abc import Iterator
from typing import Any

from tests.runtime.provider_forms.form import OWN, answer, chunks, ended, said, sends
from tests.support.upstream import Behaviour, writes

STATUSES = (400, 401, 402, 403, 404, 409, 413, 422, 429, 500, 502, 503, 529)
NAMES = (
    *("error", "message", "code", "msg", "detail", "choices", "delta", "content", "tool_calls", "function", "name"),
    *("arguments", "id", "index", "finish_reason", "usage", "prompt_tokens", "role", "reasoning", "reasoning_content"),
    *(
        "reasoning_details",
        "thinking",
        "type",
        "text",
        "metadata",
        "raw",
        "base_resp",
        "status_code",
        "errors",
        "param",
    ),
    *("loc", "x_groq", "model", "object", "refusal", "function_call", "data", "models"),
)
VALUES: tuple[Any, ...] = (None, True, 0, -1, 1.5, "", "x", "error", [], {})
CALL = {"id": "c", "type": "function", "function": {"name": OWN, "arguments": '{"url": "x"}'}}
DETAIL = {"type": "reasoning.text", "text": "x", "index": 0}
WHOLE = answer(
    {"content": "Noon.", "reasoning_details": [DETAIL], "tool_calls": [CALL]},
    "tool_calls",
    usage={"prompt_tokens": 1, "completion_tokens": 2, "total_tokens": 3},
)
REFUSAL = {"error": {"message": "tools not supported", "code": 400, "param": "tools", "type": "invalid"}}
DELTAS = (
    said(role="assistant", content=""),
    said(reasoning_details=[DETAIL]),
    said(content=[{"type": "text", "text": "Noon."}]),
    said(tool_calls=[{"index": 0, **CALL}]),
    ended("tool_calls"),
)


def nonsense(chance: random.Random) -> Iterator[tuple[Behaviour, bool]]:
    """Yield what a provider does, and whether it streams, for ever."""
    while True:
        kind = chance.randrange(3)
        if kind == 0:
            body = chance.choice([junk(chance), changed(chance, REFUSAL)])
            yield sends(chance.choice(STATUSES), body), chance.random() < 0.3
        elif kind == 1:
            yield sends(200, chance.choice([changed(chance, WHOLE), junk(chance)])), chance.random() < 0.3
        else:
            found = [changed(chance, delta) for delta in DELTAS]
            yield writes(chunks(*(each if isinstance(each, dict) else {"delta": each} for each in found))), True


def junk(chance: random.Random, depth: int = 0) -> Any:
    if depth == 4 or chance.random() < 0.4:
        return chance.choice(VALUES)
    if chance.random() < 0.6:
        return {chance.choice(NAMES): junk(chance, depth + 1) for _ in range(chance.randint(0, 4))}
    return [junk(chance, depth + 1) for _ in range(chance.randint(0, 3))]


def changed(chance: random.Random, value: Any) -> Any:
    """Give a value with some of what it holds left out, or in another's place."""
    if chance.random() < 0.12:
        return junk(chance, 2)
    if isinstance(value, dict):
        return {name: changed(chance, each) for name, each in value.items() if chance.random() > 0.05}
    return [changed(chance, each) for each in value] if isinstance(value, list) else value
