"""A chat's answer as OpenAI's response object."""

import re
import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from assistant_runtime import json_text
from assistant_runtime.api.responses.ids import output_id
from assistant_runtime.api.responses.logprobs import logprobs_of
from assistant_runtime.api.responses.reasoning import KIND, reasoning_item, wants_summary
from assistant_runtime.api.responses.tools import ClientTools, custom_input
from assistant_runtime.providers.dialect.calls import calls_of
from assistant_runtime.providers.dialect.reading import (
    MAX_TOKENS,
    finish_reason,
    is_failure,
    read_usage,
    text_of,
    usage_of,
)
from assistant_runtime.providers.dialect.thoughts import kept_fields
from assistant_runtime.tool_loop.options import FIELD

CITED = re.compile(r"\[(\d{1,3})\]")
"""How an answer refers to a numbered source."""

INCOMPLETE = {"length": "max_output_tokens", "content_filter": "content_filter"}
"""Why an answer ended early, in both APIs' words."""


def envelope(asked: Mapping[str, Any], tools: ClientTools, response_id: str, *, stored: bool) -> dict[str, Any]:
    """Give a response that has just begun: what was asked, and no output."""
    left_out = {FIELD: {"steps": [], "sources": [], "notes": tools.notes}} if tools.notes else {}
    return {
        "id": response_id,
        "object": "response",
        "created_at": int(time.time()),
        "completed_at": None,
        "status": "in_progress",
        "error": None,
        "incomplete_details": None,
        "background": False,
        "frequency_penalty": _number(asked, "frequency_penalty", 0.0),
        "instructions": asked.get("instructions"),
        "max_output_tokens": asked.get("max_output_tokens"),
        "max_tool_calls": None,
        "metadata": asked.get("metadata") or {},
        "model": asked.get("model") or "default",
        "output": [],
        "parallel_tool_calls": asked.get("parallel_tool_calls") is not False,
        "previous_response_id": asked.get("previous_response_id"),
        "presence_penalty": _number(asked, "presence_penalty", 0.0),
        "prompt_cache_key": asked.get("prompt_cache_key"),
        "reasoning": {name: (asked.get("reasoning") or {}).get(name) for name in ("effort", "summary")},
        "safety_identifier": asked.get("safety_identifier"),
        "service_tier": asked.get("service_tier") or "default",
        "store": stored,
        "temperature": _number(asked, "temperature", 1.0),
        "text": asked.get("text") or {"format": {"type": "text"}},
        "tool_choice": tools.choice,
        "tools": tools.shown,
        "top_logprobs": asked.get("top_logprobs") or 0,
        "top_p": _number(asked, "top_p", 1.0),
        "truncation": "disabled",
        "usage": None,
        "user": asked.get("user"),
        **left_out,
    }


def _number(asked: Mapping[str, Any], name: str, default: float) -> float:
    """Give a number as it was asked for, or what OpenAI's API tells where it was not."""
    return float(default if asked.get(name) is None else asked[name])


def text_part(text: str, record: Any = None, logprobs: Sequence[Any] = ()) -> dict[str, Any]:
    """Give what the model said as a part of a message."""
    found = list(annotations(text, record))
    return {"type": "output_text", "text": text, "annotations": found, "logprobs": list(logprobs)}


def refusal_part(text: str) -> dict[str, Any]:
    """Give why the model refused to answer as a part of a message."""
    return {"type": "refusal", "refusal": text}


def message_item(item_id: str, part: Mapping[str, Any], status: str) -> dict[str, Any]:
    """Give a message as an output item."""
    return {"id": item_id, "type": "message", "role": "assistant", "status": status, "content": [part]}


def call_item(item_id: str, call: Mapping[str, Any], tools: ClientTools, status: str = "completed") -> dict[str, Any]:
    """Give a call of a client's tool as an output item, in the words of the client's own list of tools."""
    function = call.get("function") or {}
    form = tools.form(str(function.get("name") or ""))
    arguments = str(function.get("arguments") or "")
    item = {"id": item_id, "call_id": str(call.get("id") or item_id), "name": form.name, "status": status}
    if form.namespace:
        item["namespace"] = form.namespace
    if form.custom:
        return {**item, "type": "custom_tool_call", "input": custom_input(arguments)}
    return {**item, "type": "function_call", "arguments": arguments}


def call_id(response_id: str, call: Mapping[str, Any], place: int, tools: ClientTools) -> str:
    """Give the id of a call's item; `place` is its number among the calls of the response."""
    form = tools.form(str((call.get("function") or {}).get("name") or ""))
    return output_id(response_id, "ctc" if form.custom else "fc", place)


def annotations(text: str, record: Any) -> Iterable[dict[str, Any]]:
    """Give a citation for each reference to a source that has an address."""
    sources = record.get("sources") if isinstance(record, dict) else None
    by_number = {source["number"]: source for source in sources or () if source.get("url")}
    for found in CITED.finditer(text):
        if source := by_number.get(int(found[1])):
            yield {
                "type": "url_citation",
                "start_index": found.start(),
                "end_index": found.end(),
                "title": source["title"],
                "url": source["url"],
            }


def usage(counted: Any) -> dict[str, Any] | None:
    """Give the tokens in this API's words; None where the provider did not count."""
    read = read_usage({"usage": counted})
    if read is None:
        return None
    return {
        "input_tokens": read.input_tokens,
        "input_tokens_details": {"cached_tokens": _detail(counted, "prompt", "cached_tokens"), "cache_write_tokens": 0},
        "output_tokens": read.output_tokens,
        "output_tokens_details": {"reasoning_tokens": _detail(counted, "completion", "reasoning_tokens")},
        "total_tokens": _count(counted.get("total_tokens")) or read.input_tokens + read.output_tokens,
    }


def _detail(counted: Mapping[str, Any], kind: str, name: str) -> int:
    details = counted.get(f"{kind}_tokens_details")
    return _count(details.get(name)) if isinstance(details, dict) else 0


def _count(value: Any) -> int:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    # Infinity, and what no answer takes, counts nothing.
    return int(value) if is_number and 0 <= value <= MAX_TOKENS else 0


def completed(
    response: dict[str, Any],
    chat: Mapping[str, Any],
    output: Sequence[Any],
    ended: str | None,
    *,
    at: float | None = None,
) -> dict[str, Any]:
    """Give the response at its end, `at` seconds since 1970; `chat` has model, usage and record."""
    reason = INCOMPLETE.get(ended or "")
    done = {
        **response,
        "status": "incomplete" if reason else "completed",
        "completed_at": None if reason else int(time.time() if at is None else at),
        "incomplete_details": {"reason": reason} if reason else None,
        "model": chat.get("model") or response["model"],
        "output": list(output),
        "usage": usage(chat.get("usage")),
    }
    if record := chat.get(FIELD):
        notes = [*(response.get(FIELD) or {}).get("notes", ()), *record.get("notes", ())]
        done[FIELD] = {**record, "notes": notes} if notes else record
    return done


def from_chat(
    response: dict[str, Any],
    chat: Mapping[str, Any],
    tools: ClientTools,
    *,
    thoughts: Iterable[Mapping[str, Any]] | None = None,
    at: float | None = None,
) -> dict[str, Any]:
    """Make a response of a chat's answer that was not streamed; `thoughts` are all of them, where there were more."""
    choices = chat.get("choices")
    choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
    message = choice.get("message") or {}
    reason = finish_reason(choice.get("finish_reason"))
    status = "incomplete" if reason in INCOMPLETE else "completed"
    calls = calls_of(message)
    output = [call_item(call_id(response["id"], call, place, tools), call, tools) for place, call in enumerate(calls)]
    message_id = output_id(response["id"], "msg", 0)
    text, refusal = json_text.whole(text_of(message.get("content"))), message.get("refusal")
    if isinstance(refusal, str) and refusal:
        output.insert(0, message_item(message_id, refusal_part(refusal), status))
    elif text or not calls:
        part = text_part(text, chat.get(FIELD), logprobs_of(choice))
        output.insert(0, message_item(message_id, part, status))
    thoughts = [kept_fields(message)] if thoughts is None else thoughts
    output[:0] = [
        reasoning_item(output_id(response["id"], KIND, place), fields, summary=wants_summary(response))
        for place, fields in enumerate(filter(None, thoughts))
    ]
    whole = completed(response, {**chat, "usage": usage_of(chat)}, output, reason, at=at)
    if is_failure(reason):
        error = {"code": "server_error", "message": f"The answer is truncated: the model ended with {reason}."}
        whole |= {"status": "failed", "error": error, "completed_at": None}
    return whole
