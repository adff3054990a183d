"""How each component is: what the watches saw, and where something is wrong what the API server tells when asked."""

from collections import OrderedDict
from dataclasses import replace

from assistant_operator import desired, labels
from assistant_operator.cluster.cache import Cache
from assistant_operator.cluster.client import UNREACHABLE, ApiError, Client
from assistant_operator.cluster.inquiry import Inquiry
from assistant_operator.cluster.referenced import Referenced
from assistant_operator.cluster.secrets import Secrets
from assistant_operator.errors import ReconcileError
from assistant_operator.health import trouble
from assistant_operator.health.status import Assessed
from assistant_operator.health.trouble import Scene
from assistant_operator.health.workload import Health, assess, elsewhere, failing_job, resting, together
from assistant_operator.rooms.component import Component, Workload
from assistant_operator.rooms.facts import Facts, Images
from assistant_operator.rooms.manifests import Object
from assistant_operator.spec.assistant import AIAssistant

_REMEMBERED = 256
"""Quotations that are remembered without the secrets in them, so that a crash costs its reads once."""

_UNQUOTED = "A program failed; what it wrote is left out until the Secrets that may be in it can be read."


class Assessment:
    """Judges the components of AIAssistants."""

    def __init__(self, api: Client, cache: Cache, referenced: Referenced, secrets: Secrets, images: Images) -> None:
        self._cache, self._referenced, self._secrets, self._images = cache, referenced, secrets, images
        self._inquiry = Inquiry(api)
        self._redacted: OrderedDict[tuple[str, str, str], str] = OrderedDict()

    async def components(self, assistant: AIAssistant) -> list[Assessed]:
        """Return every component that is enabled, as it was found."""
        return [
            Assessed(
                component.name,
                component.condition,
                component.mode(assistant.spec),
                await self._health(component, assistant),
            )
            for component in desired.enabled(assistant)
        ]

    async def _health(self, component: Component, assistant: AIAssistant) -> Health:
        if component.mode(assistant.spec) != "Managed":
            return self._with_kept_volumes(await self._elsewhere(component, assistant), component, assistant)
        workloads = component.workloads(assistant)
        health = together({workload.part: await self._workload(workload, assistant) for workload in workloads})
        return await self._redact(failing_job(health, await self._failing_jobs(component, assistant)), assistant)

    async def _elsewhere(self, component: Component, assistant: AIAssistant) -> Health:
        named = desired.referenced_object(component, assistant)
        if named is None:
            return elsewhere()
        try:
            return named.kind.health(await self._referenced.read(assistant.namespace, named))
        except ReconcileError as error:
            return Health(False, error.reason, error.message)

    def _with_kept_volumes(self, health: Health, component: Component, assistant: AIAssistant) -> Health:
        """Say which volumes still hold what this operator's own server had, so that no data is lost silently."""
        claims = self._cache.all("PersistentVolumeClaim", (assistant.namespace, assistant.name))
        names = [claim["metadata"]["name"] for claim in claims if _is_of(component, claim)]
        if not names:
            return health
        kept = f"The data of the managed one stays in volume claims {', '.join(names)}."
        return replace(health, message=f"{health.message} {kept}")

    async def _workload(self, workload: Workload, assistant: AIAssistant) -> Health:
        live = self._cache.get(workload.kind, assistant.namespace, workload.name)
        if live is None:
            return assess(None, suspended=False)
        key = (assistant.namespace, assistant.name)
        claims = [claim for claim in self._cache.claims(key, workload.part) if _is_used(claim, live)]
        scene = Scene(live, [*self._cache.pods(key, workload.part)], claims)
        health = assess(scene, suspended=assistant.spec.suspend)
        asked = [] if health.ready or resting(health) else trouble.questions(scene)
        if asked:
            scene = replace(scene, events=await self._inquiry.events(assistant.namespace, asked))
            health = replace(assess(scene, suspended=assistant.spec.suspend), unsettled=True)
        return replace(health, growth=trouble.growth(scene.claims))

    async def _failing_jobs(self, component: Component, assistant: AIAssistant) -> list[trouble.Trouble]:
        jobs = [job for job in self._cache.all("Job", (assistant.namespace, assistant.name)) if _is_of(component, job)]
        found = [await self._job(job, assistant) for job in jobs]
        return [wrong for wrong in found if wrong]

    async def _job(self, job: Object, assistant: AIAssistant) -> trouble.Trouble | None:
        pods = self._pods_of(job, assistant)
        events: trouble.Events = {}
        if trouble.lacks_pod(job, pods):
            events = await self._inquiry.events(assistant.namespace, [job["metadata"]["uid"]])
        return trouble.job_trouble(job, pods, events)

    def _pods_of(self, job: Object, assistant: AIAssistant) -> list[Object]:
        pods = self._cache.all("Pod", (assistant.namespace, assistant.name))
        return [pod for pod in pods if pod["metadata"]["labels"].get(labels.JOB) == job["metadata"]["name"]]

    async def _redact(self, health: Health, assistant: AIAssistant) -> Health:
        """Take the assistant's secrets out of a message that quotes what a program wrote."""
        if not health.quotes:
            return health
        # One text may hold what is a secret of one assistant and none of another.
        key = (assistant.namespace, assistant.name, health.message)
        known = self._redacted.pop(key, None)
        if known is None:
            objects = desired.referenced_objects(assistant)
            facts = Facts(self._images, referenced=self._referenced.all_seen(assistant.namespace, objects))
            names = {credential.name for credential in desired.credentials(assistant)}
            named = [reference.named for reference in desired.references(assistant, facts)]
            names |= {key.name for key in named if key.source == "Secret"}
            try:
                known = await self._secrets.redact(health.message, assistant.namespace, names)
            except (ApiError, *UNREACHABLE):
                return replace(health, message=_UNQUOTED)
        self._redacted[key] = known
        while len(self._redacted) > _REMEMBERED:
            self._redacted.popitem(last=False)
        return replace(health, message=known)


def _is_used(claim: Object, workload: Object) -> bool:
    """Tell whether a pod that is wanted uses a claim: both names end in the pod's number."""
    number = claim["metadata"]["name"].rpartition("-")[2]
    wanted: int = workload["spec"].get("replicas", 1)
    return number.isdecimal() and int(number) < wanted


def _is_of(component: Component, body: Object) -> bool:
    """Tell whether an object belongs to a component or to a part of it."""
    found: str = body["metadata"]["labels"].get(labels.COMPONENT, "")
    return found == component.name or found.startswith(f"{component.name}-")
