"""What a model thought, as a reasoning item: out with an answer, and back in with the next request.

Providers have several fields for it, and some want just these back, with signatures. The item has the text for readers,
and all fields, encoded, in `encrypted_content`, which clients send back as it is. Nothing in it is secret.
"""

import base64
import binascii
from collections.abc import Iterator, Mapping
from typing import Any

from assistant_runtime import json_text
from assistant_runtime.providers.dialect.reading import REASONING_FIELDS
from assistant_runtime.providers.dialect.thoughts import text_in

KIND = "rs"
"""How the ids of reasoning items begin."""

FORMAT = "chat.1:"
"""What our `encrypted_content` begins with: that of other servers can't be read."""

DEFAULT_FIELD = REASONING_FIELDS[0]
"""Where thoughts go of which only the text is known."""


def wants_summary(asked: Mapping[str, Any]) -> bool:
    """Whether the client asks for a summary of the thoughts, which is how many programs show them."""
    reasoning = asked.get("reasoning")
    return isinstance(reasoning, dict) and bool(reasoning.get("summary"))


def reasoning_item(item_id: str, fields: Mapping[str, Any], *, summary: bool, whole: bool = True) -> dict[str, Any]:
    """Give thoughts as an output item.

    Parameters
    ----------
    fields
        The thoughts, in the fields in which they came.
    summary
        Whether their text is given as the summary; otherwise as the content.
    whole
        Whether this is all of them.
    """
    text = text_in(fields)
    said = [{"type": "summary_text" if summary else "reasoning_text", "text": text}] if text else []
    item = {"id": item_id, "type": "reasoning", "summary": said if summary else []}
    if not summary:
        item["content"] = said
    if whole:
        encoded = base64.b64encode(json_text.dumps(dict(fields))).decode()
        item |= {"encrypted_content": f"{FORMAT}{encoded}", "status": "completed"}
    return item


def fields_of(item: Mapping[str, Any]) -> dict[str, Any]:
    """Give the fields of a message that a reasoning item stands for; none where there is nothing to give back."""
    encoded = item.get("encrypted_content")
    if isinstance(encoded, str) and encoded.startswith(FORMAT) and (found := _decoded(encoded.removeprefix(FORMAT))):
        return found
    text = "\n\n".join(_texts(item))
    return {DEFAULT_FIELD: text} if text else {}


def _texts(item: Mapping[str, Any]) -> Iterator[str]:
    for name in ("content", "summary"):
        parts = item.get(name)
        texts = [part.get("text") for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []
        if any(texts):
            yield from (text for text in texts if isinstance(text, str) and text)
            return


def _decoded(encoded: str) -> dict[str, Any]:
    try:
        found = json_text.loads(base64.b64decode(encoded, validate=True))
    except (binascii.Error, ValueError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {name: value for name, value in found.items() if name in (*REASONING_FIELDS, "content")}
