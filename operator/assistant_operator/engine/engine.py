"""What drives the passes: watches feed a queue of keys, workers take from it, a jittered resync adds to it."""

import asyncio
import functools
import random
import time
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import replace
from typing import Any

import structlog

from assistant_operator import conditions, desired, kinds
from assistant_operator.cluster.cache import Cache, Key, Ref, trim_assistant
from assistant_operator.cluster.client import ApiServer
from assistant_operator.cluster.referenced import Referenced
from assistant_operator.cluster.users import Users
from assistant_operator.cluster.watch import Listener, Target, Watch
from assistant_operator.engine.pulse import Pulse
from assistant_operator.engine.workqueue import WorkQueue
from assistant_operator.errors import BlindError, GoneError, ReconcileError, StalledError, TransientError, WaitingError
from assistant_operator.reconcile import Reconciler
from assistant_operator.rooms.facts import Facts
from assistant_operator.rooms.manifests import Object
from assistant_operator.settings import Settings
from assistant_operator.spec.parsing import parse
from assistant_operator.telemetry import Metrics

log = structlog.get_logger()

_WAITING_SECONDS = 15
"""What is awaited mostly wakes the assistant by its own event; this is for what no watch can see."""
_UNSETTLED_SECONDS = 8
"""A probe that fails or a volume that can't be made is in events only, and must be in the status within 15 s."""


class Engine:
    """All AIAssistants of the watched namespaces, and the workers that reconcile them."""

    def __init__(self, settings: Settings, api: ApiServer, metrics: Metrics) -> None:
        self._settings = settings
        self._assistants = Cache(trim_assistant)
        self._phases: dict[Key, str] = {}
        self._content_users: Users[Key, Ref] = Users()
        self._queue: WorkQueue[Key] = WorkQueue()
        self._cache = Cache()
        self._pulse = Pulse()
        self._listener = Listener(
            on_unreadable=lambda plural: metrics.unreadable.labels(plural).inc(),
            on_contact=self._pulse.beat,
            on_failure=lambda watch, failure: metrics.watch_failures.labels(watch, failure).inc(),
        )
        self._referenced = Referenced(api, settings.watch_namespaces, self._look_anew, self._listener)
        self._reconciler = Reconciler(
            api, self._cache, self._referenced, settings.images, metrics, unserved=self._unserved
        )
        self._watches = [
            watch for namespace in settings.watch_namespaces or (None,) for watch in self._watches_of(api, namespace)
        ]
        metrics.observe_engine(self)

    def _watches_of(self, api: ApiServer, namespace: str | None) -> Iterator[Watch]:
        """Yield the watches of one namespace, or of all of them."""

        def watch(cache: Cache, target: Target, **listener: Any) -> Watch:
            # Whoever could not be looked at while a kind was refused, or wants one that is served only now, is.
            answered = functools.partial(self._wake_all, namespace)
            return Watch(api, cache, target, replace(self._listener, on_answer=answered, **listener))

        yield watch(self._assistants, Target(kinds.ASSISTANT, namespace, selector=None), on_object=self._observe)
        for kind in (*kinds.APPLIED.values(), kinds.POD, kinds.CLAIM):
            yield watch(self._cache, Target(kind, namespace), on_change=self._wake)
        # Everyone's metadata and nobody's data: what a user writes carries none of our labels.
        everyones = functools.partial(Target, namespace=namespace, selector=None, metadata_only=True)
        yield watch(self._cache, everyones(kinds.SECRET), on_change=self._wake, on_object=self._wake_users)
        config_maps = self._reconciler.config_maps.cache
        yield watch(config_maps, everyones(kinds.CONFIG_MAP), on_change=self._wake, on_object=self._wake_users)
        # Generated Secrets with their values: each pass needs them, and to read them one by one would slow a restart.
        yield watch(self._reconciler.secrets.fresh, Target(kinds.SECRET, namespace), on_object=self._receive)

    def _observe(self, found: Ref, news: bool) -> None:
        """Take note of an AIAssistant that is new, changed or gone."""
        key = (found.namespace, found.name)
        resource = self._resource(key)
        if resource is None:
            self._forget(key)
        elif news:
            self._phases[key] = _phase(resource)
            self._look_anew([key])

    def _resource(self, key: Key) -> Object | None:
        return self._assistants.get(kinds.ASSISTANT.kind, *key)

    def _unserved(self) -> frozenset[str]:
        return frozenset(watch.target.kind.kind for watch in self._watches if watch.unserved)

    async def run(self) -> None:
        """Watch and reconcile until cancelled."""
        async with asyncio.TaskGroup() as tasks:  # noqa: TID251 - ends with the process
            tasks.create_task(self.watch(), name="watch")
            await self.synced()
            tasks.create_task(self.work(), name="work")

    async def watch(self) -> None:
        """Keep the caches filled until cancelled. It writes nothing, so that any number of operators may do it."""
        async with asyncio.TaskGroup() as tasks:  # noqa: TID251 - ends with the process
            for watch in self._watches:
                tasks.create_task(watch.run(), name=f"watch {watch.name}")
            tasks.create_task(self._referenced.run(), name="referenced")

    async def synced(self) -> None:
        """Wait until the API server has answered every watch, be it with a refusal."""
        await asyncio.gather(*(watch.answered.wait() for watch in self._watches))
        log.info("synced", objects=len(self._cache))
        self._drop_values_of_nobody()

    async def work(self) -> None:
        """Reconcile all AIAssistants from filled caches until cancelled; it may be begun again after that."""
        self._wake_all(None)
        async with asyncio.TaskGroup() as tasks:  # noqa: TID251 - ends with the process
            for number in range(self._settings.workers):
                tasks.create_task(self._work(), name=f"worker {number}")
            tasks.create_task(self._resync(), name="resync")

    def unready(self) -> list[str]:
        """Return what keeps it from looking at some AIAssistants, with the reason; empty where it is ready."""
        refused = self.refused_watches()
        filling = [f"{watch.name}: the cache is filling" for watch in self._watches if not watch.settled]
        return [f"{name}: {reason}" for name, reason in refused.items()] or filling or self.silent_watches()

    def silent_watches(self) -> list[str]:
        """Return the watches that show no sign of life while others do, or all of them where none has for long."""
        watches = [watch for watch in (*self._watches, *self._referenced.watches) if watch.refusal is None]
        silent = [watch.name for watch in watches if self._pulse.misses(watch.last_contact)]
        return silent or ([watch.name for watch in watches] if self._pulse.is_lost else [])

    def refused_watches(self) -> dict[str, str]:
        """Return the watches that the API server refuses, with the reason."""
        return {
            watch.name: watch.refusal.message or str(watch.refusal)
            for watch in self._watches
            if watch.refusal and not watch.unserved
        }

    def watch_ages(self) -> dict[str, float]:
        """Return for how many seconds each watch has had no sign of life."""
        now = time.monotonic()
        return {watch.name: now - watch.last_contact for watch in (*self._watches, *self._referenced.watches)}

    def queue_depth(self) -> int:
        """Return how many AIAssistants wait for a pass."""
        return len(self._queue)

    def phases(self) -> Counter[str]:
        """Count the AIAssistants by phase."""
        return Counter(self._phases.values())

    async def _work(self) -> None:
        while True:
            key = await self._queue.take()
            failed = True
            try:
                with structlog.contextvars.bound_contextvars(namespace=key[0], assistant=key[1]):
                    failed = await self._reconcile_one(key)
            finally:  # also where the work is ended in mid-pass, so that it can be begun again
                self._queue.done(key, failed=failed)

    async def _reconcile_one(self, key: Key) -> bool:
        try:
            return await self._reconcile(key)
        except Exception:  # a defect met by one assistant must not stop the others
            log.exception("pass_crashed")
            return True

    async def _reconcile(self, key: Key) -> bool:
        """Run a pass; return whether it failed and should be tried again with backoff."""
        resource = self._resource(key)
        if resource is None or resource["metadata"].get("deletionTimestamp"):
            return False
        # A pass over a half-filled cache would take what it misses for missing.
        hindrance = self._hindrance(key[0])
        if not hindrance and not all(watch.settled for watch in self._watches if watch.covers(key[0])):
            self._queue.add_after(key, _WAITING_SECONDS)
            return False
        outcome = await self._reconciler.reconcile(resource, hindrance)
        if isinstance(outcome.error, GoneError):
            self._assistants.remove(kinds.ASSISTANT.kind, resource)
            if self._resource(key) is None:  # a successor of the same name may have come during the pass
                self._forget(key)
            return False
        self._keep(key, outcome.resource)
        if isinstance(outcome.error, WaitingError) or _ends_unseen(outcome.error):
            self._queue.add_after(key, _WAITING_SECONDS)
        if outcome.unsettled:
            self._queue.add_after(key, _UNSETTLED_SECONDS)
        if isinstance(outcome.error, TransientError):
            log.warning("pass_failed", reason=outcome.error.reason, message=outcome.error.message)
            return True
        return False

    def _hindrance(self, namespace: str) -> BlindError | None:
        """Return why AIAssistants of a namespace can't be looked at, None where they can."""
        for watch in self._watches:
            if watch.covers(namespace) and watch.refusal and not watch.unserved:
                return BlindError(
                    conditions.WATCH_REFUSED,
                    f"The API server does not let the operator watch {watch.target.kind.plural} in namespace "
                    f"{namespace}: {watch.refusal}. What runs goes on as it is. Give the operator's account the rights "
                    "of the chart's role; this is noticed within a quarter of a minute.",
                )
        return None

    def _keep(self, key: Key, after: Object) -> None:
        """Keep the answer to our own status write, which is newer than what the watch has shown so far."""
        current = self._resource(key)
        if current and current["metadata"]["uid"] == after["metadata"]["uid"]:
            self._assistants.put(kinds.ASSISTANT.kind, after)
            self._phases[key] = _phase(after)

    def _forget(self, key: Key) -> None:
        self._phases.pop(key, None)
        self._queue.forget(key)
        self._referenced.use(key, ())
        self._content_users.use(key, ())
        self._reconciler.secrets.fresh.drop(key)

    async def _resync(self) -> None:
        """Look at every assistant once in a while, a few at a time, in case an event was lost."""
        while True:
            await asyncio.sleep(self._settings.resync_seconds * random.uniform(0.9, 1.1))  # noqa: S311 - jitter
            for key in list(self._phases):
                self._queue.add_after(key, random.uniform(0, self._settings.resync_seconds / 10))  # noqa: S311 - jitter

    def _wake(self, key: Key) -> None:
        if key in self._phases:
            self._queue.add(key)

    def _wake_all(self, namespace: str | None) -> None:
        for key in self._phases:
            if namespace in (None, key[0]):
                self._queue.add(key)

    def _wake_users(self, found: Ref, _: bool) -> None:
        contents = self._reconciler.config_maps if found.kind == "ConfigMap" else self._reconciler.secrets
        contents.forget_deleted(found.namespace, found.name)
        for key in self._content_users.of(found):
            self._wake(key)

    def _receive(self, found: Ref, _: bool) -> None:
        """Wake the assistant that the values of a generated Secret are for; drop those that are for none."""
        key = self._reconciler.secrets.recipient(found)
        if key in self._phases:
            self._queue.add(key)
        elif key and all(watch.answered.is_set() for watch in self._watches):
            self._reconciler.secrets.fresh.drop(key)

    def _drop_values_of_nobody(self) -> None:
        """Drop the values of Secrets whose AIAssistant was deleted."""
        fresh = self._reconciler.secrets.fresh
        for key in fresh.owners() - self._phases.keys():
            fresh.drop(key)

    def _look_anew(self, keys: Iterable[Key]) -> None:
        """Have assistants looked at, and learn whose changes wake them: what they name may have changed."""
        for key in keys:
            if resource := self._resource(key):
                self._refer(key, resource)
                self._queue.add(key)

    def _refer(self, key: Key, resource: Object) -> None:
        """Remember the Secrets, ConfigMaps and objects that a resource names, to be woken by their changes."""
        try:
            assistant = parse(resource)
            objects = desired.referenced_objects(assistant)
            self._referenced.use(key, objects.values())
            # Such an object may name Secrets and ConfigMaps of its own.
            facts = Facts(self._settings.images, referenced=self._referenced.all_seen(key[0], objects))
            named = [reference.named for reference in desired.references(assistant, facts)]
            named += desired.awaited(assistant)
            contents = [Ref(found.source, key[0], found.name) for found in named]
            self._content_users.use(key, contents)
        except ReconcileError:  # invalid: it names nothing, and the pass says why
            self._referenced.use(key, ())
            self._content_users.use(key, ())
        except Exception:  # a defect met by one assistant must not stop the others; the pass meets it too, and says so
            log.exception("references_unknown", namespace=key[0], assistant=key[1])


def _ends_unseen(error: ReconcileError | None) -> bool:
    """Tell whether what stalls an assistant ends by a change that no watch tells: the object of another owner."""
    return isinstance(error, StalledError) and error.reason == conditions.NAME_CONFLICT


def _phase(resource: Object) -> str:
    return str((resource.get("status") or {}).get("phase", "Pending"))
