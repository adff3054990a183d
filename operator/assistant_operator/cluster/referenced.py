"""Objects of other operators that stand for a component, as their watches see them.

Their kinds are nowhere vendored and may not be installed. A kind is watched while an AIAssistant names an object of it,
and the watch itself finds out whether the API server knows the kind: it asks again until it does.
"""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import NamedTuple

from assistant_operator import conditions
from assistant_operator.cluster.cache import Cache, Key, Ref, trim_referenced
from assistant_operator.cluster.client import UNREACHABLE, ApiError, ApiServer
from assistant_operator.cluster.users import Users
from assistant_operator.cluster.watch import Listener, Target, Watch
from assistant_operator.errors import StalledError, TransientError, WaitingError
from assistant_operator.kinds import READ, Kind
from assistant_operator.rooms.component import ReferencedObject
from assistant_operator.rooms.manifests import Object

_ANSWER_SECONDS = 10
"""How long a pass waits for a watch that has just been started."""


class _Place(NamedTuple):
    """What one watch watches."""

    kind: Kind
    namespace: str | None


class _Named(NamedTuple):
    """An object that an AIAssistant names."""

    place: _Place
    namespace: str
    name: str


class Referenced:
    """The objects that AIAssistants name, and the watches of their kinds.

    Parameters
    ----------
    namespaces
        Namespaces that may be watched; none: all of them.
    on_change
        Called with the AIAssistants that name an object which changed.
    listener
        Who is called by every watch, besides.
    """

    def __init__(
        self,
        api: ApiServer,
        namespaces: Sequence[str],
        on_change: Callable[[Iterable[Key]], None],
        listener: Listener | None = None,
    ) -> None:
        self._api, self._everywhere = api, not namespaces
        self._on_change, self._listener = on_change, listener or Listener()
        self._users: Users[Key, _Named] = Users()
        self._watches: dict[_Place, Watch] = {}
        self._caches: dict[_Place, Cache] = {}
        self._changed = asyncio.Event()

    @property
    def watches(self) -> list[Watch]:
        """The watches of the kinds in use."""
        return list(self._watches.values())

    def use(self, key: Key, objects: Iterable[ReferencedObject]) -> None:
        """Take note of all objects that an AIAssistant names now."""
        self._users.use(key, [self._named(key[0], found) for found in objects])
        used = {named.place for named in self._users.things()}
        for place in self._watches.keys() - used:
            del self._watches[place], self._caches[place]
        for place in used - self._watches.keys():
            self._caches[place] = Cache(trim_referenced)
            self._watches[place] = self._watch(place)
        self._changed.set()

    def seen(self, namespace: str, wanted: ReferencedObject) -> Object | None:
        """Return an object as last seen, None where it was not."""
        named = self._named(namespace, wanted)
        watch = self._watches.get(named.place)
        if watch is None or watch.refusal:
            return None
        return self._caches[named.place].get(wanted.kind.kind, namespace, wanted.name)

    def all_seen(self, namespace: str, wanted: Mapping[str, ReferencedObject]) -> dict[str, Object]:
        """Return those of the objects, by component, that were seen."""
        found = {component: self.seen(namespace, named) for component, named in wanted.items()}
        return {component: body for component, body in found.items() if body}

    async def read(self, namespace: str, wanted: ReferencedObject) -> Object:
        """Return an object as last seen.

        Raises
        ------
        StalledError
            The API server knows no such kind.
        WaitingError
            There is no such object.
        TransientError
            The API server gives no answer, or forbids it.
        """
        watch = self._watches.get(self._named(namespace, wanted).place)
        if watch is None:
            raise TransientError(conditions.CONFLICT, "The AIAssistant was changed just now; it is looked at again.")
        try:
            async with asyncio.timeout(_ANSWER_SECONDS):
                await watch.answered.wait()
        except UNREACHABLE as error:
            message = f"The API server gives no answer about {wanted.kind.plural}.{wanted.kind.group}."
            raise TransientError(conditions.API_ERROR, message) from error
        if watch.refusal:
            raise _explain(watch.refusal, wanted) from watch.refusal
        found = self.seen(namespace, wanted)
        if found is None:
            raise WaitingError(
                conditions.OBJECT_NOT_FOUND,
                f"{wanted.field}: there is no {wanted.kind.kind} {wanted.name} in namespace {namespace}. Create it, or "
                f"name one of those that exist: kubectl -n {namespace} get {wanted.kind.crd}",
            )
        return found

    async def run(self) -> None:
        """Keep a watch running for each kind in use, until cancelled."""
        running: dict[Watch, asyncio.Task[None]] = {}
        async with asyncio.TaskGroup() as tasks:  # noqa: TID251 - ends with its caller
            while True:
                for watch in running.keys() - set(self.watches):
                    running.pop(watch).cancel()
                for watch in set(self.watches) - running.keys():
                    running[watch] = tasks.create_task(watch.run(), name=f"watch {watch.name}")
                await self._changed.wait()
                self._changed.clear()

    def _watch(self, place: _Place) -> Watch:
        def changed(found: Ref, _: bool) -> None:
            self._on_change(self._users.of(_Named(place, found.namespace, found.name)))

        def answered() -> None:
            self._on_change(
                {key for named in self._users.things() if named.place == place for key in self._users.of(named)}
            )

        target = Target(place.kind, place.namespace, selector=None)
        listener = replace(self._listener, on_object=changed, on_answer=answered)
        return Watch(self._api, self._caches[place], target, listener)

    def _named(self, namespace: str, wanted: ReferencedObject) -> _Named:
        kind = Kind(wanted.ref.api_version, wanted.kind.kind, wanted.kind.plural, READ)
        return _Named(_Place(kind, None if self._everywhere else namespace), namespace, wanted.name)


def _explain(refusal: ApiError, wanted: ReferencedObject) -> StalledError | TransientError:
    kind = wanted.kind
    if refusal.status != HTTPStatus.NOT_FOUND:
        return TransientError(conditions.API_ERROR, f"{wanted.field}: the API server answered {refusal}")
    return StalledError(
        conditions.API_NOT_INSTALLED,
        f"{wanted.field}: this cluster serves no {kind.kind} of {wanted.ref.api_version}. Install {kind.operator}, "
        f"which brings the CustomResourceDefinition {kind.crd}, or name a version of it that is served. "
        "This is noticed within seconds.",
    )
