"""What MCP servers answer, made so that one bad entry costs itself alone.

The SDK checks a whole answer against the protocol's schema: a list in which one tool has no proper schema is refused as
a whole, and so is a result without `content`. So each message is put right before the SDK sees it.
"""

import base64
import binascii
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Self

from assistant_runtime import json_text
from assistant_runtime.tools.mcp_names import complete

FIELDS: Mapping[str, Sequence[str]] = {
    "image": ("data", "mimeType"),
    "audio": ("data", "mimeType"),
    "resource": ("resource",),
    "resource_link": ("name", "uri", "title", "description"),
}
"""What the protocol's types of content have, beside text."""

OPTIONAL = ("title", "description")

TEXT_TYPES = ("text/", "application/json", "application/xml", "application/yaml", "application/x-yaml")
"""Media types whose bytes are text."""


class LenientStream:
    """A transport's incoming messages, put right.

    Parameters
    ----------
    stream
        The messages as they come.
    left_out
        Gets the tools that can't be offered, with the reason.
    """

    def __init__(self, stream: Any, left_out: dict[str, str]) -> None:
        self._stream = stream
        self._left_out = left_out

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)

    async def __aenter__(self) -> Self:
        await self._stream.__aenter__()
        return self

    async def __aexit__(self, *error: object) -> Any:
        return await self._stream.__aexit__(*error)

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Any:
        return self._put_right(await self._stream.__anext__())

    async def receive(self) -> Any:
        """Give the next message."""
        return self._put_right(await self._stream.receive())

    def _put_right(self, item: Any) -> Any:
        result = getattr(getattr(item, "message", None), "result", None)
        if isinstance(result, dict):
            put_right(result, self._left_out)
        return item


@asynccontextmanager
async def lenient(transport: Any, left_out: dict[str, str]) -> AsyncIterator[tuple[Any, Any]]:
    """Open a transport whose incoming messages are put right."""
    async with transport as (reading, writing):
        yield LenientStream(reading, left_out), writing


def put_right(result: dict[str, Any], left_out: dict[str, str]) -> None:
    """Put an answer right: a list of tools, or the result of a call."""
    if isinstance(result.get("tools"), list):
        result["tools"] = list(_tools(result["tools"], left_out))
        _keep_texts(result, "nextCursor")
    elif "structuredContent" in result or "content" in result:
        _put_result_right(result)
    if not isinstance(result.get("_meta"), dict):
        result.pop("_meta", None)


def _put_result_right(result: dict[str, Any]) -> None:
    content = result.get("content")
    blocks = content if isinstance(content, list) else [content] if content else []
    result["content"] = [_block(block) for block in blocks]
    result["isError"] = bool(result.get("isError"))
    structured = result.pop("structuredContent", None)
    if isinstance(structured, dict):
        result["structuredContent"] = structured
    elif structured is not None and not blocks:
        # Allowed by the newest version alone.
        result["content"] = [_text_block(json_text.dumps(structured).decode())]


def _tools(listed: list[Any], left_out: dict[str, str]) -> Iterator[dict[str, Any]]:
    """Yield the tools that can be offered, with what is needed of each: a schema of results would be checked too."""
    for place, tool in enumerate(listed):
        name = tool.get("name") if isinstance(tool, dict) else None
        if not isinstance(name, str) or not name:
            left_out[f"number {place + 1}"] = "it has no name"
            continue
        schema = tool.get("inputSchema")
        kind = schema.get("type") if isinstance(schema, dict) else None
        if not (schema is None or isinstance(schema, dict)) or kind not in (None, "object", ["object"]):
            left_out[name] = "its inputSchema is not that of an object"
            continue
        left_out.pop(name, None)
        description = tool.get("description") or tool.get("title")
        found = {"name": name, "inputSchema": complete(schema or {})}
        yield {**found, "description": description} if isinstance(description, str) else found


def text_of(result: Any) -> str:
    """Give the text of a call's result: of its content, or, where that says nothing, its structured content as JSON."""
    parts = [_said(block) for block in result.content]
    if result.structured_content is not None and not any(parts):
        return json_text.dumps(result.structured_content).decode()
    return "\n".join(parts)


def _said(block: Any) -> str:
    """Give a block's text; what is no text is named."""
    kind = getattr(block, "type", "content")
    if kind == "text":
        return str(block.text)
    if kind == "resource":
        return _resource(block.resource)
    if kind == "resource_link":
        about = " - ".join(filter(None, (block.title or block.name, block.description)))
        return f"{about}: {block.uri}"
    return f"[{kind} left out]"


def _resource(resource: Any) -> str:
    """Give an embedded resource: its text below its address."""
    text = getattr(resource, "text", None)
    media_type = str(resource.mime_type or "")
    if text is None and media_type.startswith(TEXT_TYPES):
        try:
            text = base64.b64decode(resource.blob).decode("utf-8", "replace")
        except (binascii.Error, ValueError):
            text = None
    return f"{resource.uri}\n{text}" if text is not None else f"[{media_type or 'a file'} left out: {resource.uri}]"


def _block(block: Any) -> dict[str, Any]:
    """Give a block with just what its type must have; one that lacks that, or is of another type, becomes text."""
    if isinstance(block, str):
        return _text_block(block)
    if not isinstance(block, dict):
        return _text_block(json_text.dumps(block).decode())
    kind = str(block.get("type"))
    if kind == "text":
        text = block.get("text")
        return _text_block(text if isinstance(text, str) else json_text.dumps(text).decode())
    found = {"type": kind, **{name: block.get(name) for name in FIELDS.get(kind, ())}}
    if kind == "resource":
        found["resource"] = _given_resource(block.get("resource"))
    _keep_texts(found, *OPTIONAL)
    whole = kind in FIELDS and all(found.get(name) for name in FIELDS[kind] if name not in OPTIONAL)
    return found if whole else _text_block(f"[{kind} left out]")


def _given_resource(resource: Any) -> dict[str, Any] | None:
    """Give an embedded resource with its address, and its text or its bytes; None for what is none."""
    if not isinstance(resource, dict):
        return None
    found = {name: resource.get(name) for name in ("uri", "mimeType", "text", "blob")}
    _keep_texts(found, *found)
    if "text" in found:
        found.pop("blob", None)
    return found if "uri" in found and len(found.keys() & {"text", "blob"}) == 1 else None


def _keep_texts(found: dict[str, Any], *names: str) -> None:
    """Drop these fields where they are no text."""
    for name in names:
        if not isinstance(found.get(name, ""), str):
            del found[name]


def _text_block(text: str) -> dict[str, Any]:
    return {"type": "text", "text": text}
