"""Read an answer, or a chunk of one, in the forms that providers give it.

Here is what the runtime has to understand: text, thoughts, reasons to end, tokens, and whether there is an answer at
all. What only passes is passed as it came.
"""

from collections.abc import Mapping
from typing import Any

from assistant_runtime.providers.base import Usage

REASONING_FIELDS = ("reasoning_content", "reasoning", "reasoning_details", "thinking", "thinking_blocks")
"""Under which names messages have their model's thoughts: DeepSeek, Qwen, Kimi and GLM; Groq, Cerebras, vLLM and
OpenRouter; OpenRouter; Ollama; LiteLLM."""

THINKING_PARTS = frozenset({"thinking", "redacted_thinking", "reasoning", "reasoning_text"})
TEXT_PARTS = frozenset({"text", "output_text"})

MAX_TOKENS = 10**9
"""Of one answer. A number that is larger counts nothing: it would spend a key's budget, and no database keeps it."""

FINISH_REASONS = {
    **dict.fromkeys(("stop", "eos", "eos_token", "end_turn", "stop_sequence", "end", "complete", "completed"), "stop"),
    **dict.fromkeys(("finish_reason_unspecified", "finished", "normal"), "stop"),
    **dict.fromkeys(("length", "max_tokens", "max_length", "max_output_tokens", "error_toxic_length"), "length"),
    **dict.fromkeys(("model_length", "model_context_window_exceeded", "repetition_truncation"), "length"),
    **dict.fromkeys(("tool_calls", "tool_call", "tool_use", "function_call"), "tool_calls"),
    **dict.fromkeys(("content_filter", "safety", "recitation", "sensitive", "blocklist", "refusal"), "content_filter"),
    **dict.fromkeys(("prohibited_content", "spii", "error_toxic", "guardrail_intervened"), "content_filter"),
}
"""Why answers end, in others' words and in OpenAI's."""

FAILED_REASONS = frozenset(
    {
        *("error", "abort", "aborted", "cancelled", "canceled", "unknown_error", "network_error", "server_error"),
        *("insufficient_system_resource", "engine_overloaded", "timeout", "malformed_function_call"),
    }
)
"""Reasons that say that the answer did not come to its end."""


def finish_reason(reason: Any) -> str | None:
    """Give why an answer ended in OpenAI's words; None where it did not say, or has not ended."""
    if not isinstance(reason, str) or not reason:
        return None
    return FINISH_REASONS.get(reason.lower(), "stop" if reason.lower() not in FAILED_REASONS else reason.lower())


def is_failure(reason: str | None) -> bool:
    """Whether a reason to end says that the answer was not finished."""
    return reason in FAILED_REASONS


def has_failed(choice: Mapping[str, Any]) -> bool:
    """Whether a choice says that it was not finished."""
    reason = choice.get("finish_reason")
    return bool(choice.get("error")) or (isinstance(reason, str) and reason.lower() in FAILED_REASONS)


def text_of(content: Any) -> str:
    """Give the text of a message's content, which some models send in parts, with their thoughts among them."""
    if isinstance(content, str):
        return content
    if isinstance(content, dict):
        content = [content]
    if not isinstance(content, list):
        return ""
    return "".join(_part(part) for part in content)


def reasoning_of(message: Mapping[str, Any]) -> str:
    """Give what a model thought, as text; empty where it is hidden or there is none."""
    for name in REASONING_FIELDS:
        if found := _thought(message.get(name)):
            return found
    content = message.get("content")
    parts = content if isinstance(content, list) else ()
    thoughts = (part for part in parts if isinstance(part, dict) and str(part.get("type")) in THINKING_PARTS)
    return "".join(map(_thought, thoughts))


def said_in(choice: Mapping[str, Any]) -> Mapping[str, Any]:
    """Give the delta of a chunk's choice; some send a whole message there, or a text as completions do."""
    for name in ("delta", "message"):
        found = choice.get(name)
        if isinstance(found, dict) and found:
            return found
    text = choice.get("text")
    return {"content": text} if isinstance(text, str) and text else {}


def says_something(choice: Any) -> bool:
    """Whether a chunk's choice has more than a role: text, thoughts, a call, or the end."""
    if not isinstance(choice, dict):
        return False
    if choice.get("finish_reason"):
        return True
    return any(value not in (None, "", [], {}) for name, value in said_in(choice).items() if name != "role")


def is_empty(payload: Mapping[str, Any]) -> bool:
    """Whether an answer has no choice, or a failed one that says nothing."""
    choices = payload.get("choices")
    if not isinstance(choices, list) or not choices:
        return True
    return all(_is_void(choice) for choice in choices)


def is_whole(payload: Mapping[str, Any]) -> bool:
    """Whether every choice of an answer came to its end: gateways put failures into a choice of a 200."""
    choices = payload.get("choices")
    return (
        isinstance(choices, list)
        and bool(choices)
        and all(isinstance(each, dict) and each.get("finish_reason") and not has_failed(each) for each in choices)
    )


def is_readable(payload: Mapping[str, Any], said: str) -> bool:
    """Whether what the runtime reads of an answer, or of a stream's chunk, is of the types that OpenAI's API has.

    Parameters
    ----------
    said
        Where a choice has its message: `message`, or `delta` in a stream.
    """
    choices = payload.get("choices")
    return choices is None or (isinstance(choices, list) and all(_is_choice(choice, said) for choice in choices))


def _is_choice(choice: Any, said: str) -> bool:
    if not isinstance(choice, dict):
        return False
    reason, message = choice.get("finish_reason"), choice.get(said)
    if not (reason is None or isinstance(reason, str)) or not (message is None or isinstance(message, dict)):
        return False
    calls = message.get("tool_calls") if message else None
    return not calls or (
        isinstance(calls, list)
        and all(isinstance(call, dict) and isinstance(call.get("function") or {}, dict) for call in calls)
    )


def read_usage(payload: Mapping[str, Any]) -> Usage | None:
    """Read the tokens of an answer or a chunk, wherever they are; None where the provider did not count."""
    for found in _usages(payload):
        given = _count(found, "prompt_tokens", "input_tokens")
        if given is not None:
            return Usage(given, _count(found, "completion_tokens", "output_tokens") or 0)
    return None


def usage_of(payload: Mapping[str, Any]) -> dict[str, Any] | None:
    """Give the object that has the tokens: usually `usage`, else where Groq and Moonshot have put it."""
    return next((found for found in _usages(payload) if found), None)


def _usages(payload: Mapping[str, Any]) -> list[dict[str, Any]]:
    found = [payload.get("usage")]
    if not found[0]:
        groq = payload.get("x_groq")
        found.append(groq.get("usage") if isinstance(groq, dict) else None)
        choices = payload.get("choices")
        found += [each.get("usage") for each in choices if isinstance(each, dict)] if isinstance(choices, list) else []
    return [each for each in found if isinstance(each, dict)]


def _count(usage: Mapping[str, Any], *names: str) -> int | None:
    for name in names:
        value = usage.get(name)
        if not isinstance(value, int | float) or isinstance(value, bool):
            continue
        # The bound comes first: infinity can't be made an integer.
        if 0 <= value <= MAX_TOKENS and value == int(value):
            return int(value)
    return None


def _is_void(choice: Any) -> bool:
    if not isinstance(choice, dict):
        return True
    message = choice.get("message")
    said = message if isinstance(message, dict) else {}
    if not has_failed(choice):
        # A text that was completed by nothing is an answer too: editors ask where nothing is to be filled in.
        return message is None and not isinstance(choice.get("text"), str)
    return not any(value not in (None, "", [], {}) for name, value in said.items() if name != "role")


def _part(part: Any) -> str:
    if isinstance(part, str):
        return part
    if not isinstance(part, dict) or str(part.get("type") or "text") not in TEXT_PARTS:
        return ""
    text = part.get("text")
    return text if isinstance(text, str) else ""


def _thought(value: Any) -> str:
    """Give a thought's text: a text, or parts of it, under whatever name each has it."""
    if isinstance(value, str):
        return value
    if isinstance(value, list):
        return "".join(_thought(each) for each in value)
    if isinstance(value, dict):
        return next((found for name in ("text", "thinking", "summary") if (found := _thought(value.get(name)))), "")
    return ""
