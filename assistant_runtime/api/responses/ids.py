"""Ids of responses and of items, which say where each is kept.

A response's id holds its session's and a number of its own. An output item's id holds its response's. Any other item
is a message of a session, or a part of one, and its id holds the session's and its place there. So whatever was stored
is found by its id alone, and nothing has to be kept for that.
"""

import re
import secrets
from dataclasses import dataclass

RESPONSE_ID = re.compile(r"resp_([0-9a-f]{32})_?[0-9a-f]{16}")
"""The underscore is that of earlier versions."""

OUTPUT_ITEM_ID = re.compile(r"[a-z]+_([0-9a-f]{32}[0-9a-f]{16})[0-9a-f]{2,4}")
GIVEN_ITEM_ID = re.compile(r"[a-z]+_([0-9a-f]{32})([0-9a-f]{8})[0-9a-f]{2}")
SESSION_PREFIX = "sess_"
RESPONSE_PREFIX = "resp_"


@dataclass(frozen=True, slots=True)
class GivenPlace:
    """Where an item that a client gave is kept."""

    session_id: str
    sequence: int


def response_id(session_id: str) -> str:
    """Give an id for a response that a session keeps."""
    return f"{RESPONSE_PREFIX}{session_id.removeprefix(SESSION_PREFIX)}{secrets.token_hex(8)}"


def unstored_id() -> str:
    """Give an id for a response that is not kept."""
    return f"{RESPONSE_PREFIX}{secrets.token_hex(24)}"


def session_of(response: str) -> str:
    """Give the id of the session that keeps a response; empty for what is no response's id."""
    found = RESPONSE_ID.fullmatch(response)
    return SESSION_PREFIX + found[1] if found else ""


def output_id(response: str, kind: str, place: int) -> str:
    """Give the id of an output item: the same whenever it is asked for."""
    return f"{kind}_{response.removeprefix(RESPONSE_PREFIX).replace('_', '')}{place:02x}"


def given_id(session_id: str, sequence: int, kind: str, place: int) -> str:
    """Give the id of an item that a message of a session is, or has; `place` counts those of one message."""
    return f"{kind}_{session_id.removeprefix(SESSION_PREFIX)}{sequence:08x}{place:02x}"


def response_of(item: str) -> str:
    """Give the id of the response that an output item belongs to; empty for another item."""
    found = OUTPUT_ITEM_ID.fullmatch(item)
    return RESPONSE_PREFIX + found[1] if found else ""


def given_place(item: str) -> GivenPlace | None:
    """Give where an item is kept that a client gave; None for another item."""
    found = GIVEN_ITEM_ID.fullmatch(item)
    return GivenPlace(SESSION_PREFIX + found[1], int(found[2], 16)) if found else None
