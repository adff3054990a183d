"""What a session and a unit are written as: the same fields in a row and in a document.

Messages and metadata are JSON text: BSON has no integers beyond 64 bits, and SQL no nesting.
"""

from collections.abc import Mapping
from typing import Any

import orjson

from assistant_runtime.stores.conversations import Session, Unit


def as_json(value: Any) -> str:
    """Write a value as JSON text."""
    return orjson.dumps(value).decode()


def session_fields(session: Session) -> dict[str, Any]:
    """Give a session's fields, all but its id, which each store has under a name of its own."""
    return {
        "tenant": session.tenant,
        "title": session.title,
        "metadata": as_json(session.metadata),
        "version": session.version,
        "message_count": session.message_count,
        "created": session.created,
        "updated": session.updated,
    }


def session_of(session_id: str, fields: Mapping[str, Any]) -> Session:
    """Read a session."""
    return Session(
        session_id,
        fields["tenant"],
        fields["title"],
        orjson.loads(fields["metadata"]),
        fields["version"],
        fields["message_count"],
        fields["created"],
        fields["updated"],
    )


def unit_fields(unit: Unit) -> dict[str, Any]:
    """Give a unit's fields, all but its session's id."""
    return {
        "version": unit.version,
        "key": unit.key,
        "first": unit.first,
        "last": unit.last,
        "messages": as_json(unit.messages),
        "open_calls": as_json(unit.open_calls),
        "incomplete": unit.incomplete,
        "created": unit.created,
        "about": as_json(unit.about) if unit.about is not None else None,
    }


def unit_of(session_id: str, fields: Mapping[str, Any]) -> Unit:
    """Read a unit."""
    return Unit(
        session_id,
        fields["version"],
        fields["key"],
        fields["first"],
        tuple(orjson.loads(fields["messages"])),
        tuple(orjson.loads(fields["open_calls"])),
        incomplete=fields["incomplete"],
        created=fields["created"],
        # Units that were kept before there was such a field have none.
        about=orjson.loads(about) if (about := fields.get("about")) else None,
    )
