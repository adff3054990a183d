"""One pass over one AIAssistant. Read this first.

    retain    own volumes and generated Secrets, or let go of them, as `deletionPolicy` says
    observe   parse the resource, generate what credentials are missing, read the facts
    desired   render everything that should exist (`desired.py`, pure)
    apply     make each object so, in order; what is already so costs nothing
    prune     delete what is no longer desired, after every apply succeeded
    unblock   delete pods whose readiness their own update waits for in vain
    assess    judge each component by what the watches saw
    report    write the status where it differs, and an event where readiness changed

A pass is level-based: it looks at what is, never at what happened, so any pass may be lost or doubled.
Where something is missing, invalid or can't be changed, it changes nothing of the running stack, and the status says
why. Where the API server refuses an object, what comes after it is not touched.
"""

import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from http import HTTPStatus

import structlog

from assistant_operator import conditions, desired
from assistant_operator.assessment import Assessment
from assistant_operator.cluster import apply, prune, retention, rollout, volumes
from assistant_operator.cluster import status as status_writer
from assistant_operator.cluster.cache import Cache, Ref, trim_to_version
from assistant_operator.cluster.client import UNREACHABLE, ApiError, Client
from assistant_operator.cluster.confirmation import Confirmation
from assistant_operator.cluster.contents import Contents
from assistant_operator.cluster.referenced import Referenced
from assistant_operator.cluster.secrets import Secrets
from assistant_operator.errors import BlindError, GoneError, ReconcileError, StalledError, TransientError, WaitingError
from assistant_operator.health import status
from assistant_operator.health.status import Findings
from assistant_operator.kinds import CLAIM, CONFIG_MAP, SECRET
from assistant_operator.rooms import reference
from assistant_operator.rooms.facts import Facts, Images, PodFacts
from assistant_operator.rooms.manifests import Object
from assistant_operator.rooms.reference import Reference
from assistant_operator.spec.assistant import AIAssistant
from assistant_operator.spec.base import Source
from assistant_operator.spec.parsing import parse
from assistant_operator.telemetry import Metrics

log = structlog.get_logger()


@dataclass(frozen=True)
class Outcome:
    """What a pass leaves: the resource as it is then, and the error that ended it, if any."""

    resource: Object
    error: ReconcileError | None
    unsettled: bool = False
    """Whether something is wrong or under way that no watch tells."""


class Reconciler:
    """Brings clusters to what AIAssistants ask for.

    Parameters
    ----------
    cache
        What the watches have seen of the objects of all assistants.
    referenced
        What the watches have seen of the objects of other operators that the assistants name.
    images
        Images for components whose resource names none.
    unserved
        Gives the optional kinds that the cluster does not serve.
    now
        The clock.
    """

    def __init__(
        self,
        api: Client,
        cache: Cache,
        referenced: Referenced,
        images: Images,
        metrics: Metrics,
        *,
        unserved: Callable[[], frozenset[str]] = frozenset,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._api, self._cache, self._referenced = api, cache, referenced
        self._images, self._metrics, self._unserved, self._now = images, metrics, unserved, now
        self.secrets = Secrets(api, cache)
        self.config_maps = Contents(api, Cache(trim_to_version), CONFIG_MAP)
        self._assessment = Assessment(api, cache, referenced, self.secrets, images)

    async def reconcile(self, resource: Object, hindrance: BlindError | None = None) -> Outcome:
        """Run one pass over a resource as the watch last saw it; where something hinders that, only report it."""
        started = time.perf_counter()
        findings, report = await self._pass(resource, hindrance)
        # Values that this pass had no use for wait for no other one: it reads what it needs.
        self.secrets.fresh.drop((resource["metadata"]["namespace"], resource["metadata"]["name"]))
        error = findings.error
        if not isinstance(error, GoneError):
            try:
                resource = await self._report(resource, report)
            except (GoneError, TransientError) as unreported:
                error = unreported
        self._metrics.passes.labels(_result(error)).inc()
        self._metrics.pass_seconds.observe(time.perf_counter() - started)
        return Outcome(resource, error, findings.unsettled)

    async def _pass(self, resource: Object, hindrance: BlindError | None) -> tuple[Findings, Object]:
        """Return what was found and the status that says so."""
        previous, now = resource.get("status") or {}, self._now().strftime("%Y-%m-%dT%H:%M:%SZ")
        try:
            assistant = parse(resource)
            if hindrance:
                raise hindrance
        except (StalledError, BlindError) as error:
            generation = resource["metadata"].get("generation", 0)
            return Findings(error=error), status.interrupted(error, previous, generation, now)
        notices: list[conditions.Condition] = []
        ended_by = await self._converge(assistant, notices)
        findings = replace(await self._assess(assistant, ended_by), notices=notices)
        return findings, status.build(assistant, findings, previous, now)

    async def _converge(self, assistant: AIAssistant, notices: list[conditions.Condition]) -> ReconcileError | None:
        """Retain, observe, render, apply, prune and what follows; return the error that ended it.

        `notices` takes what is wrong and stops nothing.
        """
        confirmation = Confirmation(self._api, assistant)
        try:
            await self._retain(assistant, confirmation, notices)
            facts = await self._observe(assistant, confirmation)
            if assistant.spec.deletion_policy == "Delete" and not notices:
                await self._retain(assistant, confirmation, notices)  # the Secrets that were missing until now
            wanted = desired.desired(assistant, facts)
            objects = await self._changeable(assistant, wanted)
            for body in objects:
                written = await apply.apply_object(self._api, self._cache, assistant, body, confirmation)
                self._count("object", written, body["kind"], body["metadata"]["name"])
            for ref in await prune.prune(self._api, self._cache, assistant, objects):
                self._count("deletion", True, ref.kind, ref.name)
                await self._tell_kept_volumes(assistant, ref)
            for ref in await rollout.restart_stuck_pods(self._api, self._cache, assistant):
                self._count("deletion", True, ref.kind, ref.name)
        except ReconcileError as error:
            return error
        except ApiError as error:
            if error.namespace_terminating:
                return WaitingError(conditions.TERMINATING, "The namespace is being deleted.")
            return TransientError(conditions.API_ERROR, f"The API server answered {error}")
        except UNREACHABLE as error:
            return TransientError(conditions.API_ERROR, f"The API server can't be reached: {error!r}")
        except Exception as error:  # a defect must show in the status of the resource that meets it, and stop no other
            log.exception("pass_crashed")
            return TransientError(
                conditions.INTERNAL_ERROR,
                f"A defect of the operator ended the pass ({type(error).__name__}). It retries; its log says more.",
            )
        return None

    async def _retain(
        self, assistant: AIAssistant, confirmation: Confirmation, notices: list[conditions.Condition]
    ) -> None:
        retained = await retention.keep_owners(self._api, self._cache, assistant, confirmation)
        for ref in retained.written:
            self._count("owner", True, ref.kind, ref.name)
        if retained.refusal:
            message = (
                f"spec.deletionPolicy: {assistant.spec.deletion_policy} is not in effect. The API server refuses to "
                "change the owners of volumes and generated Secrets, so all of them stay as they are. Give the "
                f"operator the right to delete both (--set rbac.deleteKept=true). It answered for {retained.refusal}"
            )
            notices.append(
                conditions.condition(conditions.TYPE_DELETION_POLICY, False, conditions.OWNERS_REFUSED, message)
            )

    async def _changeable(self, assistant: AIAssistant, wanted: desired.Desired) -> list[Object]:
        """Return the objects as they can be applied, after their volumes grew.

        Raises
        ------
        StalledError
            Something is to change that Kubernetes never changes; nothing was written.
        """
        objects: list[Object] = []
        growths: list[volumes.Growth] = []
        for body in wanted.objects:
            fields = wanted.immutable.get((body["kind"], body["metadata"]["name"]), {})
            if body["kind"] == "StatefulSet":
                field = fields.get("volumeClaimTemplates", "storage")
                live = self._cache.get("StatefulSet", assistant.namespace, body["metadata"]["name"])
                claims = volumes.bound(self._cache, assistant, body)
                growths += volumes.growths(live, body, claims, field)
                body = volumes.fitted(live, body, claims, field)  # noqa: PLW2901 - the same object, as far as it can be changed
                apply.check_immutable(self._cache, body, fields)
            objects.append(body)
        await volumes.grow(self._api, self._cache, growths)
        for growth in growths:
            self._count("volume", True, CLAIM.kind, growth.claim["metadata"]["name"])
        return objects

    async def _observe(self, assistant: AIAssistant, confirmation: Confirmation) -> Facts:
        """Generate missing credentials and read the facts.

        Raises
        ------
        StalledError
            The spec names an object of a kind that the cluster does not serve, or one that can't be used as it is.
        WaitingError
            A Secret, ConfigMap or object that the spec names is missing, or lacks the key.
        """
        facts = Facts(
            self._images,
            referenced=await self._read_referenced(assistant),
            unserved=self._unserved(),
            pods=self._pods(assistant),
        )
        references = desired.references(assistant, facts)
        facts = replace(
            facts,
            secrets=await self.secrets.facts(assistant.namespace, _names(references, "Secret")),
            config_maps=await self.config_maps.facts(assistant.namespace, _names(references, "ConfigMap")),
        )
        for each in references:
            found = facts.contents(each.named.source).get(each.named.name)
            reference.check(each, found, assistant.namespace)
        credentials = desired.credentials(assistant)
        for credential in credentials:
            written = await self.secrets.generate(credential, assistant, confirmation)
            self._count("secret", written, SECRET.kind, credential.name)
        generated = await self.secrets.facts(assistant.namespace, [credential.name for credential in credentials])
        return replace(facts, secrets={**facts.secrets, **generated})

    async def _read_referenced(self, assistant: AIAssistant) -> dict[str, Object]:
        found = {}
        for component, named in desired.referenced_objects(assistant).items():
            found[component] = await self._referenced.read(assistant.namespace, named)
            if problem := named.problem(found[component]):
                raise StalledError(conditions.OBJECT_UNUSABLE, f"{named.field}: {problem}")
        return found

    def _pods(self, assistant: AIAssistant) -> dict[str, tuple[PodFacts, ...]]:
        key = (assistant.namespace, assistant.name)
        return {
            workload.part: _addressed(self._cache.pods(key, workload.part))
            for component in desired.managed(assistant)
            for workload in component.workloads(assistant)
        }

    async def _assess(self, assistant: AIAssistant, error: ReconcileError | None) -> Findings:
        def seen(kind: str, name: str) -> Object | None:
            return self._cache.get(kind, assistant.namespace, name)

        facts = Facts(self._images, unserved=self._unserved())
        components = await self._assessment.components(assistant)
        assessed = (policy.assessed(assistant, facts, seen) for policy in desired.POLICIES)
        image = assistant.spec.image.reference(self._images["runtime"])
        return Findings(components, [found for found in assessed if found], error=error, image=image)

    async def _report(self, resource: Object, report: Object) -> Object:
        """Write the status where it differs, and an event where readiness changed; return the resource after that."""
        previous = resource.get("status") or {}
        if status_writer.same(report, previous):
            return resource
        changed = status_writer.readiness_change(report, previous)
        try:
            resource = await status_writer.write(self._api, resource, report)
            self._metrics.writes.labels("status").inc()
        except ApiError as error:
            if error.status == HTTPStatus.NOT_FOUND:
                raise GoneError(conditions.TERMINATING, "The AIAssistant was deleted.") from error
            if error.status == HTTPStatus.CONFLICT or error.namespace_terminating:
                return resource  # changed or deleted meanwhile, which its watch shows
            raise TransientError(conditions.API_ERROR, f"The status could not be written: {error}") from error
        except UNREACHABLE as error:
            raise TransientError(conditions.API_ERROR, f"The status could not be written: {error!r}") from error
        if changed:
            log.info("readiness_changed", status=changed["status"], reason=changed["reason"])
            await self._record_event(resource, changed)
        return resource

    async def _record_event(self, resource: Object, ready: conditions.Condition) -> None:
        """Record an event; one that can't be had is let go, because the status says the same."""
        try:
            now = self._now().strftime("%Y-%m-%dT%H:%M:%S.%fZ")
            await status_writer.record_event(self._api, resource, ready, now)
            self._metrics.writes.labels("event").inc()
        except (ApiError, *UNREACHABLE) as error:
            log.warning("event_lost", reason=ready["reason"], error=str(error))

    async def _tell_kept_volumes(self, assistant: AIAssistant, deleted: Ref) -> None:
        """Record an event that names the volumes which a deleted StatefulSet leaves."""
        if deleted.kind != "StatefulSet":
            return
        if claims := volumes.claims_of(self._cache, assistant, deleted.name):
            message = (
                f"StatefulSet {deleted.name} is gone, its data is not: volume claims {', '.join(claims)} stay, and are "
                "used again when it comes back."
            )
            kept = conditions.condition(conditions.VOLUMES_KEPT, True, conditions.VOLUMES_KEPT, message)
            await self._record_event({"metadata": assistant.metadata.model_dump()}, kept)

    def _count(self, what: str, written: bool, kind: str, name: str) -> None:
        if written:
            self._metrics.writes.labels(what).inc()
            log.info("deleted" if what == "deletion" else "applied", kind=kind, name=name)


def _names(references: Iterable[Reference], source: Source) -> list[str]:
    return [reference.named.name for reference in references if reference.named.source == source]


def _addressed(pods: Iterable[Object]) -> tuple[PodFacts, ...]:
    """Return the pods that others can reach, sorted by name."""
    found = [
        PodFacts(pod["metadata"]["name"], pod["metadata"]["uid"], address)
        for pod in pods
        if (address := (pod.get("status") or {}).get("podIP")) and not pod["metadata"].get("deletionTimestamp")
    ]
    return tuple(sorted(found, key=lambda pod: pod.name))


def _result(error: ReconcileError | None) -> str:
    if error is None:
        return "ok"
    return {StalledError: "stalled", WaitingError: "waiting", GoneError: "gone"}.get(type(error), "transient")
