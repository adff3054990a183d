"""Who uses what: which AIAssistants name a Secret or an object, so that they are woken when it changes."""

from collections import defaultdict
from collections.abc import Hashable, Iterable
from collections.abc import Set as AbstractSet
from typing import Generic, TypeVar

U = TypeVar("U", bound=Hashable)
T = TypeVar("T", bound=Hashable)


class Users(Generic[U, T]):
    """An index of users by what they use."""

    def __init__(self) -> None:
        self._used: dict[U, frozenset[T]] = {}
        self._users: defaultdict[T, set[U]] = defaultdict(set)

    def use(self, user: U, things: Iterable[T]) -> None:
        """Take note of all that a user uses now; nothing forgets the user."""
        now, before = frozenset(things), self._used.pop(user, frozenset())
        for thing in before - now:
            self._users[thing].discard(user)
            if not self._users[thing]:
                del self._users[thing]
        for thing in now:
            self._users[thing].add(user)
        if now:
            self._used[user] = now

    def of(self, thing: T) -> frozenset[U]:
        """Return the users of a thing."""
        return frozenset(self._users.get(thing, ()))

    def things(self) -> AbstractSet[T]:
        """Return everything that has a user."""
        return self._users.keys()
