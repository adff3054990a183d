"""What drives the passes: watches feed a queue of keys, workers take from it, a jittered resync adds to it."""

import asyncio
import functools
import random
import time
from collections import Counter
from collections.abc import Iterable
from typing import Any

import structlog

from assistant_operator import conditions, desired
from assistant_operator.cluster import kinds
from assistant_operator.cluster.cache import Cache, Key, Ref, version
from assistant_operator.cluster.client import ApiServer
from assistant_operator.cluster.referenced import Referenced
from assistant_operator.cluster.watch import Watch
from assistant_operator.errors import GoneError, ReconcileError, StalledError, TransientError, WaitingError
from assistant_operator.facts import Facts
from assistant_operator.manifests import Object
from assistant_operator.policies import ingress
from assistant_operator.reconcile import Reconciler, key_of, parse
from assistant_operator.settings import Settings
from assistant_operator.telemetry import Metrics
from assistant_operator.users import Users
from assistant_operator.workqueue import WorkQueue

log = structlog.get_logger()

_WAITING_SECONDS = 15
"""What is awaited mostly wakes the assistant by its own event; this is for what no watch can see."""
_UNSETTLED_SECONDS = 8
"""A probe that fails or a volume that can't be made is in events only, and must be in the status within 15 s."""
_DEAD_WATCH_SECONDS = 300
"""A watch without any sign of life for longer makes /healthz fail; bookmarks come about once a minute."""


class Engine:
    """All AIAssistants of the watched namespaces, and the workers that reconcile them."""

    def __init__(self, settings: Settings, api: ApiServer, metrics: Metrics) -> None:
        self._settings = settings
        self.listening = asyncio.Event()
        """Set by whoever watches the AIAssistants, once it does."""
        self._resources: dict[Key, Object] = {}
        self._content_users: Users[Key, Ref] = Users()
        self._queue: WorkQueue[Key] = WorkQueue()
        self._cache = Cache()
        self._referenced = Referenced(api, settings.watch_namespaces, self._look_anew)
        self._reconciler = Reconciler(api, self._cache, self._referenced, settings.images, metrics)
        watch = functools.partial(Watch, api, self._cache, on_change=self._wake)
        everyones: Any = {"selector": None, "metadata_only": True}
        self._watches = [
            found
            for namespace in settings.watch_namespaces or (None,)
            for found in (
                *(watch(kind, namespace) for kind in (*kinds.APPLIED.values(), kinds.POD, kinds.CLAIM)),
                # Everyone's metadata and nobody's data: what a user writes carries none of our labels.
                watch(kinds.SECRET, namespace, **everyones, on_object=functools.partial(self._wake_users, "Secret")),
                Watch(
                    api,
                    self._reconciler.config_maps.cache,
                    kinds.CONFIG_MAP,
                    namespace,
                    **everyones,
                    on_object=functools.partial(self._wake_users, "ConfigMap"),
                ),
            )
        ]
        metrics.observe_engine(lambda: len(self._queue), self.phases)

    def observe(self, event: str | None, resource: Object) -> None:
        """Take one event of the AIAssistant watch; `event` is ADDED, MODIFIED, DELETED or None for the first list."""
        key = key_of(resource)
        known = self._resources.get(key)
        if event == "DELETED":
            # Of a name that was deleted and created again, the deletion may be told last.
            if known and known["metadata"]["uid"] == resource["metadata"]["uid"]:
                self._forget(key)
            return
        if known and version(known) >= version(resource):
            return
        self._resources[key] = _without_bookkeeping(resource)
        self._look_anew([key])

    async def run(self) -> None:
        """Watch and reconcile until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for watch in self._watches:
                tasks.create_task(watch.run(), name=f"watch {watch.name}")
            await asyncio.gather(*(watch.answered.wait() for watch in self._watches))
            log.info("synced", objects=len(self._cache))
            for number in range(self._settings.workers):
                tasks.create_task(self._work(), name=f"worker {number}")
            tasks.create_task(self._resync(), name="resync")
            tasks.create_task(self._referenced.run(), name="referenced")

    @property
    def ready(self) -> bool:
        """Whether AIAssistants are watched and every watch has its first list."""
        return self.listening.is_set() and all(watch.synced.is_set() for watch in self._watches)

    def silent_watches(self) -> list[str]:
        """Return the watches that show no sign of life."""
        limit = time.monotonic() - _DEAD_WATCH_SECONDS
        watches = [*self._watches, *self._referenced.watches]
        return [watch.name for watch in watches if watch.synced.is_set() and watch.last_contact < limit]

    def phases(self) -> Counter[str]:
        """Count the AIAssistants by phase."""
        return Counter((resource.get("status") or {}).get("phase", "Pending") for resource in self._resources.values())

    async def _work(self) -> None:
        while True:
            key = await self._queue.take()
            with structlog.contextvars.bound_contextvars(namespace=key[0], assistant=key[1]):
                try:
                    failed = await self._reconcile(key)
                except Exception:  # a defect met by one assistant must not stop the others
                    failed = True
                    log.exception("pass_crashed")
            self._queue.done(key, failed=failed)

    async def _reconcile(self, key: Key) -> bool:
        """Run a pass; return whether it failed and should be tried again with backoff."""
        resource = self._resources.get(key)
        if resource is None or resource["metadata"].get("deletionTimestamp"):
            return False
        # A pass over a half-filled cache would take what it misses for missing.
        if not all(watch.synced.is_set() for watch in self._watches if watch.covers(key[0])):
            self._queue.add_after(key, _WAITING_SECONDS)
            return False
        outcome = await self._reconciler.reconcile(resource)
        if isinstance(outcome.error, GoneError):
            if self._resources.get(key) is resource:
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

    def _keep(self, key: Key, after: Object) -> None:
        """Keep the answer to our own status write, which is newer than what the watch has told so far."""
        current = self._resources.get(key)
        if current and current["metadata"]["uid"] == after["metadata"]["uid"] and version(after) > version(current):
            self._resources[key] = _without_bookkeeping(after)

    def _forget(self, key: Key) -> None:
        self._resources.pop(key, None)
        self._queue.forget(key)
        self._referenced.use(key, ())
        self._content_users.use(key, ())

    async def _resync(self) -> None:
        """Look at every assistant once in a while, a few at a time, in case an event was lost."""
        while True:
            await asyncio.sleep(self._settings.resync_seconds * random.uniform(0.9, 1.1))  # noqa: S311 - jitter
            for key in list(self._resources):
                self._queue.add_after(key, random.uniform(0, self._settings.resync_seconds / 10))  # noqa: S311 - jitter

    def _wake(self, key: Key) -> None:
        if key in self._resources:
            self._queue.add(key)

    def _wake_users(self, kind: str, namespace: str, name: str) -> None:
        contents = self._reconciler.config_maps if kind == "ConfigMap" else self._reconciler.secrets
        contents.forget_deleted(namespace, name)
        for key in self._content_users.of(Ref(kind, namespace, name)):
            self._wake(key)

    def _look_anew(self, keys: Iterable[Key]) -> None:
        """Have assistants looked at, and learn whose changes wake them: what they name may have changed."""
        for key in keys:
            if resource := self._resources.get(key):
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
            contents = [Ref(found.source, key[0], found.name) for found in named]
            if certificate := ingress.tls_secret(assistant):
                contents.append(Ref(kinds.SECRET.kind, key[0], certificate))
            self._content_users.use(key, contents)
        except ReconcileError:  # invalid: it names nothing, and the pass says why
            self._referenced.use(key, ())
            self._content_users.use(key, ())
        except Exception:  # a defect met by one assistant must not stop the others; the pass meets it too, and says so
            log.exception("references_unknown", namespace=key[0], assistant=key[1])


def _ends_unseen(error: ReconcileError | None) -> bool:
    """Tell whether what stalls an assistant ends by a change that no watch tells: the object of another owner."""
    return isinstance(error, StalledError) and error.reason == conditions.NAME_CONFLICT


def _without_bookkeeping(resource: Object) -> Object:
    """Return a resource without who changed what: larger than the rest, and never read."""
    metadata = {
        key: value for key, value in resource["metadata"].items() if key not in ("managedFields", "annotations")
    }
    return {**resource, "metadata": metadata}
