"""Names and schemas of MCP tools, as providers take them.

Of a name providers take 64 letters, digits, `_` and `-`; MCP's are longer and have dots and slashes. A name that has to
be shortened, or that another tool gets as well, ends in a hash of the whole one, so that it stays the same for ever.
"""

import hashlib
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

MAX_NAME_CHARACTERS = 64
HASH_CHARACTERS = 8

ANNOTATIONS = frozenset({"$schema", "$id", "$comment"})
"""Of a schema's root; some providers refuse them."""


def offered_names(server: str, names: Sequence[str]) -> dict[str, str]:
    """Give the names that a model sees, by the server's own: the server's name comes before the tool's."""
    plain = {name: re.sub(r"[^A-Za-z0-9_-]", "_", f"{server}_{name}") for name in names}
    taken = Counter(plain.values())
    return {
        name: _hashed(f"{server}_{name}", found)
        if len(found) > MAX_NAME_CHARACTERS or (taken[found] > 1 and found != f"{server}_{name}")
        else found
        for name, found in plain.items()
    }


def complete(schema: Mapping[str, Any]) -> dict[str, Any]:
    """Give a tool's schema with what providers require and servers leave out."""
    properties = schema.get("properties")
    whole = {name: value for name, value in schema.items() if name not in ANNOTATIONS}
    whole |= {"type": "object", "properties": dict(properties) if isinstance(properties, Mapping) else {}}
    if "required" in whole:
        required = whole["required"] if isinstance(whole["required"], list) else []
        whole["required"] = [name for name in required if isinstance(name, str) and name in whole["properties"]]
    return {name: _with_items(value) for name, value in whole.items()}


def _hashed(whole: str, name: str) -> str:
    digest = hashlib.sha256(whole.encode("utf-8", "replace")).hexdigest()[:HASH_CHARACTERS]
    return f"{name[: MAX_NAME_CHARACTERS - HASH_CHARACTERS - 1]}_{digest}"


def _with_items(schema: Any) -> Any:
    """Give every array the schema of its items."""
    if isinstance(schema, list):
        return [_with_items(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    found = {name: _with_items(value) for name, value in schema.items()}
    return {**found, "items": {}} if found.get("type") == "array" and "items" not in found else found
