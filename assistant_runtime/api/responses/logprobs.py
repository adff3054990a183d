"""Log probabilities of a text's tokens, where a request asks for them."""

from collections.abc import Mapping
from typing import Any

INCLUDED = "message.output_text.logprobs"
"""How a request asks for them in `include`."""


def wants_logprobs(asked: Mapping[str, Any]) -> bool:
    """Whether a request asks for log probabilities."""
    return INCLUDED in (asked.get("include") or ()) or bool(asked.get("top_logprobs"))


def logprobs_of(choice: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Give the log probabilities of a chat's choice, or of a chunk's, in this API's form."""
    found = choice.get("logprobs")
    tokens = found.get("content") if isinstance(found, dict) else None
    return [_token(token) for token in tokens if isinstance(token, dict)] if isinstance(tokens, list) else []


def _token(token: Mapping[str, Any]) -> dict[str, Any]:
    others = token.get("top_logprobs")
    likeliest = [each for each in others if isinstance(each, dict)] if isinstance(others, list) else []
    return {**_probability(token), "top_logprobs": [_probability(each) for each in likeliest]}


def _probability(token: Mapping[str, Any]) -> dict[str, Any]:
    text = str(token.get("token") or "")
    return {"token": text, "bytes": token.get("bytes") or list(text.encode()), "logprob": token.get("logprob")}
