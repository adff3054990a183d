"""What no watch tells: the events about an object in trouble, asked for while it is, and not too often.

Watching events would cost a healthy cluster most of what the operator costs; a broken object costs a small list every
few seconds at first, and one a minute later.
"""

import asyncio
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass

import structlog

from assistant_operator.cluster.client import UNREACHABLE, ApiError, Client
from assistant_operator.health.trouble import Event, Events

log = structlog.get_logger()

_PAUSE_SECONDS = 5
"""Shortest time between two questions about one object."""
_LONG_PAUSE_SECONDS = 60
_OLD_SECONDS = 300
"""Trouble that lasts longer is asked about after the long pause."""
_ANSWER_SECONDS = 5
"""An answer that takes longer is done without."""
_REMEMBERED = 1024
"""Objects whose answers are kept."""


@dataclass
class _Answer:
    since: float
    asked: float
    events: list[Event]


class Inquiry:
    """Questions to the API server, each with its last answer."""

    def __init__(self, api: Client) -> None:
        self._api = api
        self._answers: OrderedDict[str, _Answer] = OrderedDict()

    async def events(self, namespace: str, uids: Iterable[str]) -> Events:
        """Return the events about the objects with these UIDs; those that can't be had are left out."""
        return {uid: await self._ask(namespace, uid) for uid in uids}

    async def _ask(self, namespace: str, uid: str) -> list[Event]:
        now = time.monotonic()
        answer = self._answers.setdefault(uid, _Answer(now, float("-inf"), []))
        self._answers.move_to_end(uid)
        while len(self._answers) > _REMEMBERED:
            self._answers.popitem(last=False)
        pause = _PAUSE_SECONDS if now - answer.since < _OLD_SECONDS else _LONG_PAUSE_SECONDS
        if now - answer.asked >= pause:
            answer.asked = now
            try:
                async with asyncio.timeout(_ANSWER_SECONDS):
                    answer.events = [*await self._api.events(namespace, uid)]
            except (ApiError, *UNREACHABLE) as error:
                log.warning("events_unknown", namespace=namespace, uid=uid, error=str(error) or type(error).__name__)
        return answer.events
