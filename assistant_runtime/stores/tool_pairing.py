"""Tool calls and their results, kept in pairs.

A provider refuses a conversation in which a call has no result, or a result no call: one such message would make a
session unusable for ever. So a result without its call is refused when it comes, and a call that the conversation
leaves behind is answered with a note.
"""

from collections.abc import Iterable, Sequence
from typing import Any

from assistant_runtime.errors import ApiError

UNANSWERED = "No result: the conversation went on without one."
"""What a model reads in place of a result that never came."""


def paired(
    open_calls: Sequence[str], messages: Iterable[dict[str, Any]]
) -> tuple[list[dict[str, Any]], tuple[str, ...]]:
    """Complete messages that follow a conversation.

    Parameters
    ----------
    open_calls
        Ids of the conversation's calls that have no result yet.
    messages
        What is to follow, in OpenAI's form.

    Returns
    -------
        The messages with notes for calls left behind, and the ids of the calls that are open after them.

    Raises
    ------
    ApiError
        400: a result answers no open call.
    """
    whole: list[dict[str, Any]] = []
    waiting = list(open_calls)
    for index, message in enumerate(messages):
        if message.get("role") == "tool":
            call = message.get("tool_call_id")
            if call not in waiting:
                raise _no_call(index, call)
            waiting.remove(call)
            whole.append(message)
            continue
        whole += [{"role": "tool", "tool_call_id": call, "content": UNANSWERED} for call in waiting]
        whole.append(message)
        waiting = calls(message)
    return whole, tuple(waiting)


def calls(message: dict[str, Any]) -> list[str]:
    """Give the ids of the tool calls in an assistant's message."""
    listed = message.get("tool_calls")
    entries = listed if isinstance(listed, list) else []
    return [str(entry["id"]) for entry in entries if isinstance(entry, dict) and entry.get("id")]


def _no_call(index: int, call: Any) -> ApiError:
    return ApiError(
        400,
        f"messages[{index}].tool_call_id: no call {call!r} waits for a result in this session.",
        code="tool_call_unknown",
        param=f"messages[{index}].tool_call_id",
    )
