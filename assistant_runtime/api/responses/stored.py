"""Stored responses by id: the response itself, what it was asked, and single items.

A stored response is a unit of a session: its messages, and beside them the response as it began and how it ended.
"""

import asyncio
from collections import defaultdict
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Any

from assistant_runtime.api.responses.answer import from_chat
from assistant_runtime.api.responses.given import given_items
from assistant_runtime.api.responses.ids import given_place, response_of, session_of
from assistant_runtime.api.responses.reasoning import KIND
from assistant_runtime.api.responses.tools import ClientTools, client_tools
from assistant_runtime.errors import ApiError
from assistant_runtime.providers.dialect.reading import text_of
from assistant_runtime.providers.dialect.thoughts import kept_fields
from assistant_runtime.stores.conversations import RESPONSES_METADATA, Conversations, StoredMessage, Unit, placed
from assistant_runtime.stores.history import History
from assistant_runtime.tool_loop.answer import SEPARATOR
from assistant_runtime.tool_loop.options import FIELD

AT_ONCE = 8
"""Lookups of one request that run side by side: the stores are there for others too."""

REFERENCE = "item_reference"

MAX_REFERENCES = 1000
"""Different items that one request may refer to: each may have to be looked up."""


class StoredResponses:
    """Stored responses of every tenant.

    Parameters
    ----------
    conversations
        Where they are kept.
    history
        Forgets what is kept of a session beside its messages.
    """

    def __init__(self, conversations: Conversations, history: History) -> None:
        self._conversations, self._history = conversations, history

    async def get(self, tenant: str, response: str) -> dict[str, Any]:
        """Give a response as it ended; raises ApiError 404, StoreUnavailableError."""
        return _response(await self._unit(tenant, response))

    async def delete(self, tenant: str, response: str) -> None:
        """Delete a response; raises ApiError 404, StoreUnavailableError.

        Its messages stay while another response follows them, and go with the last of these.
        """
        unit = await self._unit(tenant, response)
        if await self._conversations.log.release(unit.session_id, unit.key) == 0:
            await self._history.delete(tenant, unit.session_id)

    async def input_items(
        self, tenant: str, response: str, *, limit: int, newest_first: bool, after: str
    ) -> tuple[list[dict[str, Any]], bool]:
        """Give a page of what the model was asked, with the conversation before, and whether there is more.

        Parameters
        ----------
        after
            The id of the item that the page begins behind; empty: at the beginning.

        Raises
        ------
        ApiError
            404: there is no such response. 400: `after` is no item of it.
        """
        unit = await self._unit(tenant, response)
        end = unit.last - _made(unit)
        cursor = given_place(after)
        if after and (cursor is None or cursor.session_id != unit.session_id or not 1 <= cursor.sequence <= end):
            raise ApiError(400, "after: give the id of an item of this list", code="invalid_value", param="after")
        # A message is one item or more, so that a page never needs more messages than it has items, and the cursor's.
        if newest_first:
            last = min(end, cursor.sequence) if cursor else end
            first = max(1, last - limit - 1)
        else:
            first = cursor.sequence if cursor else 1
            last = min(end, first + limit + 1)
        messages = await self._conversations.messages(tenant, unit.session_id, first - 1, max(0, last - first + 1))
        items = [item for message in messages for item in _items(message, _tools(unit))]
        if newest_first:
            items.reverse()
        ids = [item["id"] for item in items]
        items = items[ids.index(after) + 1 :] if after in ids else items
        more = len(items) > limit or (first > 1 if newest_first else last < end)
        return items[:limit], more

    async def resolved(self, tenant: str, given: Sequence[Any]) -> list[Any]:
        """Put the items in the place of what refers to them.

        Raises
        ------
        ApiError
            404: there is no such item. 400: there are too many.
        """
        wanted = {str(item.get("id")) for item in given if _is_reference(item)}
        if not wanted:
            return list(given)
        if len(wanted) > MAX_REFERENCES:
            raise ApiError(
                400,
                f"input: it refers to {len(wanted)} stored items, and at most {MAX_REFERENCES} are allowed. Send the "
                "items themselves, or name the response that they belong to in `previous_response_id`.",
                code="invalid_value",
                param="input",
            )
        found = await self._stored(tenant, wanted)
        return [
            _found(found, item, f"input[{place}]") if _is_reference(item) else item
            for place, item in enumerate(given)
            # Thoughts are no part of what was said; without them a conversation goes on.
            if not (_is_reference(item) and str(item.get("id")).startswith(f"{KIND}_") and item.get("id") not in found)
        ]

    async def _stored(self, tenant: str, wanted: Collection[str]) -> dict[str, Mapping[str, Any]]:
        """Give the items that are stored, by id: one lookup for those of a response, or of a session's messages."""
        sessions: defaultdict[str, set[int]] = defaultdict(set)
        for place in filter(None, map(given_place, wanted)):
            sessions[place.session_id].add(place.sequence)
        responses = sorted(filter(None, {response_of(item) for item in wanted}))
        lookups: list[Callable[[], Awaitable[Sequence[Mapping[str, Any]]]]] = [
            *(partial(self._output, tenant, each) for each in responses),
            *(
                partial(self._given, tenant, session, sorted(sequences))
                for session, sequences in sorted(sessions.items())
            ),
        ]
        found: dict[str, Mapping[str, Any]] = {}
        for start in range(0, len(lookups), AT_ONCE):
            for items in await asyncio.gather(*(look_up() for look_up in lookups[start : start + AT_ONCE])):
                found |= {item["id"]: item for item in items}
        return found

    async def _output(self, tenant: str, response: str) -> Sequence[Mapping[str, Any]]:
        """Give the items of a response's answer; none where it is gone."""
        try:
            output: list[dict[str, Any]] = (await self.get(tenant, response))["output"]
        except ApiError:
            return ()
        return output

    async def _given(self, tenant: str, session_id: str, sequences: Sequence[int]) -> Sequence[Mapping[str, Any]]:
        """Give the items of a session's messages; other sessions than those of responses have a scope of their own.

        Parameters
        ----------
        sequences
            Where the messages are, in order.
        """
        session = await self._conversations.log.session(tenant, session_id)
        if session is None or session.metadata != RESPONSES_METADATA:
            return ()
        messages: list[StoredMessage] = []
        left, wanted = list(sequences), set(sequences)
        # Messages that are close together are read together; each is read once.
        while left and (units := await self._conversations.log.after(session_id, left[0] - 1, len(left))):
            messages += [each for unit in units for each in placed(unit) if each.sequence in wanted]
            left = [sequence for sequence in left if sequence > units[-1].last]
        return [item for message in messages for item in _items(message, ClientTools())]

    async def _unit(self, tenant: str, response: str) -> Unit:
        session_id = session_of(response)
        session = await self._conversations.log.session(tenant, session_id) if session_id else None
        unit = await self._conversations.log.by_key(session_id, response) if session else None
        if unit is None or unit.about is None:
            raise ApiError(404, f"There is no stored response {response!r}.", code="not_found", param="response_id")
        return unit


def _response(unit: Unit) -> dict[str, Any]:
    about = unit.about or {}
    answer = [message for message in unit.messages[-_made(unit) :] if message.get("role") == "assistant"]
    texts = [text for message in answer if (text := text_of(message.get("content")))]
    last = answer[-1] if answer else {}
    message = {**last, "content": SEPARATOR.join(texts)}
    if about.get("refused"):
        message["refusal"] = text_of(last.get("content"))
    choice = {"message": message, "finish_reason": about.get("finish_reason")}
    record = {**(about.get(FIELD) or {}), "session": {"id": unit.session_id, "version": unit.version}}
    chat = {"model": about.get("model"), "usage": about.get("usage"), "choices": [choice], FIELD: record}
    response = from_chat(about["response"], chat, _tools(unit), thoughts=map(kept_fields, answer), at=unit.created)
    if unit.incomplete:
        error = {"code": "server_error", "message": "The answer broke off."}
        response |= {"status": "failed", "error": error, "completed_at": None}
    return response


def _made(unit: Unit) -> int:
    """Give how many of a unit's messages, the last ones, are the answer; the others were asked."""
    return int((unit.about or {}).get("made") or 1)


def _tools(unit: Unit) -> ClientTools:
    shown = ((unit.about or {}).get("response") or {}).get("tools") or ()
    return client_tools(shown, can_search=True)


def _items(stored: StoredMessage, tools: ClientTools) -> list[dict[str, Any]]:
    return given_items(stored.message, stored.session_id, stored.sequence, tools)


def _is_reference(item: Any) -> bool:
    return isinstance(item, dict) and item.get("type") == REFERENCE


def _found(items: Mapping[str, Mapping[str, Any]], reference: Mapping[str, Any], where: str) -> Mapping[str, Any]:
    item = items.get(str(reference.get("id")))
    if item is None:
        raise ApiError(
            404,
            f"{where}.id: there is no stored item {reference.get('id')!r}. Items are kept with responses that have "
            "`store`; send the item itself.",
            code="not_found",
            param=f"{where}.id",
        )
    return item
