"""In what order does a pass work, and what happens when a step fails?"""

import base64
from typing import Any, cast

import pytest

from assistant_operator import labels
from assistant_operator.cluster.cache import Cache
from assistant_operator.cluster.client import ApiError, ApiServer
from assistant_operator.cluster.referenced import Referenced
from assistant_operator.errors import GoneError, TransientError
from assistant_operator.kinds import APPLIED
from assistant_operator.reconcile import Reconciler
from assistant_operator.rooms.manifests import Object
from assistant_operator.telemetry import Metrics
from tests.operator.assistants import IMAGES, PROVIDERS, resource
from tests.operator.recording import RecordingClient, events


class Bench:
    """A reconciler over a recording client, and one AIAssistant."""

    def __init__(self, **spec: Any) -> None:
        self.client = RecordingClient()
        self.cache = Cache()
        self.referenced = Referenced(cast("ApiServer", self.client), (), lambda _: None)
        self.reconciler = Reconciler(self.client, self.cache, self.referenced, IMAGES, Metrics())
        self.resource = self.client.put(resource(**spec))

    async def reconcile(self, **spec: Any) -> Object:
        """One pass; `spec` changes the spec before it."""
        if spec:
            metadata = {**self.resource["metadata"], "generation": self.resource["metadata"]["generation"] + 1}
            self.resource = self.client.put(
                {**self.resource, "metadata": metadata, "spec": {**self.resource["spec"], **spec}}
            )
        self.client.calls.clear()
        outcome = await self.reconciler.reconcile(self.resource)
        self.resource, self.error = outcome.resource, outcome.error
        return self.resource["status"]

    def place(self, body: Object) -> None:
        """Place an object as somebody else would, seen by the watch."""
        self.cache.put(body["kind"], self.client.put(body))

    def delete_unseen(self) -> None:
        """Have the AIAssistant deleted, without the watch telling so yet."""
        going = {**self.resource["metadata"], "deletionTimestamp": "2026-01-01T00:00:00Z"}
        self.client.put({**self.resource, "metadata": going})

    def place_config_map(self, body: Object) -> None:
        """Place a ConfigMap of the user's."""
        self.reconciler.config_maps.cache.put("ConfigMap", self.client.put(body))

    def condition(self, kind: str) -> dict[str, Any]:
        found = {c["type"]: c for c in self.resource["status"]["conditions"]}
        return found.get(kind, {})


def secret(name: str, **data: str) -> Object:
    encoded = {key: base64.b64encode(value.encode()).decode() for key, value in data.items()}
    return {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": name}, "data": encoded}


PROVIDERS_WITH_KEY = {"items": [{**PROVIDERS["items"][0], "apiKeyFrom": {"name": "provider", "key": "token"}}]}


async def test_credentials_come_first_then_objects_in_order_then_status() -> None:
    bench = Bench()
    await bench.reconcile()
    writes = bench.client.writes()
    kinds = [kind for verb, kind, _ in writes if verb == "apply"]
    assert kinds == sorted(kinds, key=list(APPLIED).index)
    assert [verb for verb, _, _ in writes] == ["create"] * 6 + ["apply"] * len(kinds) + ["status", "create"]


async def test_what_has_no_owner_is_kept_by_argo_cd() -> None:
    bench = Bench()
    await bench.reconcile()
    ownerless = [body for body in bench.client.objects.values() if body["kind"] == "Secret"]
    for body in bench.client.objects.values():
        ownerless += body.get("spec", {}).get("volumeClaimTemplates", [])
    assert len(ownerless) == 6 + 3
    for body in ownerless:
        assert body["metadata"]["annotations"]["argocd.argoproj.io/sync-options"] == "Prune=false,Delete=false"


async def test_an_unchanged_assistant_costs_no_request() -> None:
    bench = Bench()
    await bench.reconcile()
    await bench.reconcile()
    assert bench.client.calls == []


async def test_an_unchanged_assistant_costs_no_write_after_an_operator_restart() -> None:
    bench = Bench()
    await bench.reconcile()
    fresh = Cache()
    for (kind, _, _), body in bench.client.objects.items():
        if kind not in ("AIAssistant", "Event"):
            fresh.put(kind, {key: value for key, value in body.items() if key not in ("apiVersion", "kind")})
    bench.reconciler = Reconciler(bench.client, fresh, bench.referenced, IMAGES, Metrics())
    await bench.reconcile()
    assert bench.client.writes() == []


async def test_a_changed_field_writes_only_the_object_that_shows_it() -> None:
    bench = Bench()
    await bench.reconcile()
    await bench.reconcile(replicas=2)
    assert [call for call in bench.client.writes() if call[0] == "apply"] == [("apply", "Deployment", "demo-runtime")]


async def test_drift_is_corrected() -> None:
    bench = Bench()
    await bench.reconcile()
    live = bench.client.objects["Service", "default", "demo"]
    drifted = {**live, "spec": {**live["spec"], "ports": [{**live["spec"]["ports"][0], "port": 81}]}}
    bench.place(drifted)
    await bench.reconcile()
    assert ("apply", "Service", "demo") in bench.client.writes()


async def test_what_is_no_longer_desired_is_deleted_after_every_apply() -> None:
    bench = Bench()
    await bench.reconcile()
    await bench.reconcile(redis={"enabled": False})
    verbs = [verb for verb, _, _ in bench.client.writes()]
    deleted = {(kind, name) for verb, kind, name in bench.client.writes() if verb == "delete"}
    assert deleted == {("ConfigMap", "demo-redis"), ("Service", "demo-redis"), ("StatefulSet", "demo-redis")}
    assert verbs.index("delete") > max(i for i, verb in enumerate(verbs) if verb == "apply")


async def test_nothing_is_deleted_when_an_apply_failed() -> None:
    bench = Bench()
    await bench.reconcile()

    bench.client.refuse(ApiError(503, "ServiceUnavailable", "try again"), verb="apply", kind="Deployment")
    await bench.reconcile(redis={"enabled": False})
    assert isinstance(bench.error, TransientError)
    assert "Deployment demo-runtime: try again" in bench.error.message
    assert "delete" not in [verb for verb, _, _ in bench.client.calls]


async def test_a_transient_failure_is_in_the_status_while_it_lasts() -> None:
    bench = Bench()

    bench.client.refuse(ApiError(500, "InternalError", "etcd is away"), verb="apply", kind="Service")
    await bench.reconcile()
    assert isinstance(bench.error, TransientError)
    assert bench.condition("Reconciling")["status"] == "True"
    assert "etcd is away" in bench.condition("Ready")["message"]


async def test_a_failing_status_write_is_retried() -> None:
    bench = Bench()

    bench.client.refuse(ApiError(500, "InternalError", "etcd is away"), verb="status")
    with pytest.raises(KeyError):  # there is no status, then
        await bench.reconcile()
    assert isinstance(bench.error, TransientError)
    assert "status could not be written" in bench.error.message


async def test_a_defect_shows_in_the_status_and_is_tried_again() -> None:
    bench = Bench()

    bench.client.refuse(ZeroDivisionError(), verb="apply")
    await bench.reconcile()
    assert isinstance(bench.error, TransientError)
    assert bench.condition("Ready")["reason"] == "InternalError"
    assert "ZeroDivisionError" in bench.condition("Ready")["message"]


async def test_a_missing_secret_leaves_everything_as_it_is_and_says_what_to_do() -> None:
    bench = Bench(providers=PROVIDERS_WITH_KEY)
    status = await bench.reconcile()
    assert not [call for call in bench.client.writes() if call[0] in ("apply", "delete") or call[1] == "Secret"]
    message = bench.condition("Ready")["message"]
    assert message.startswith("spec.providers.items[0].apiKeyFrom: there is no Secret provider in namespace default.")
    assert "kubectl -n default create secret generic provider --from-literal=token=VALUE" in message
    assert bench.condition("Ready")["reason"] == bench.condition("Reconciling")["reason"] == "SecretNotFound"
    assert status["phase"] == "Pending"


async def test_a_secret_that_appears_is_picked_up() -> None:
    bench = Bench(providers=PROVIDERS_WITH_KEY)
    await bench.reconcile()
    bench.place(secret("provider", token="sk-1"))
    await bench.reconcile()
    assert ("apply", "Deployment", "demo-runtime") in bench.client.writes()


async def test_a_secret_that_is_deleted_is_missed_and_the_stack_runs_on() -> None:
    bench = Bench(providers=PROVIDERS_WITH_KEY)
    bench.place(secret("provider", token="sk-1"))
    await bench.reconcile()
    bench.cache.remove("Secret", bench.client.objects["Secret", "default", "provider"])
    await bench.reconcile()
    assert bench.condition("Ready")["reason"] == "SecretNotFound"
    assert {call[0] for call in bench.client.writes()} == {"status", "create"}


async def test_a_secret_without_the_key_names_the_keys_it_has() -> None:
    bench = Bench(providers=PROVIDERS_WITH_KEY)
    bench.place(secret("provider", key="sk-1"))
    await bench.reconcile()
    assert bench.condition("Ready")["reason"] == "SecretKeyNotFound"
    assert "has no key token, or nothing in it; it has key." in bench.condition("Ready")["message"]


@pytest.mark.parametrize("blank", ["", "\n"])
async def test_a_secret_with_nothing_under_the_key_lacks_it(blank: str) -> None:
    bench = Bench(redis={"external": {"urlFrom": {"name": "elsewhere"}}})
    bench.place(secret("elsewhere", url=blank))
    await bench.reconcile()
    assert bench.condition("Ready")["reason"] == "SecretKeyNotFound"
    assert "spec.redis.external.urlFrom: Secret elsewhere" in bench.condition("Ready")["message"]
    assert "Deployment" not in {kind for _, kind, _ in bench.client.writes()}


async def test_a_changed_secret_rolls_the_pods_that_read_it() -> None:
    bench = Bench(providers=PROVIDERS_WITH_KEY)
    bench.place(secret("provider", token="sk-1"))
    await bench.reconcile()
    before = bench.client.objects["Deployment", "default", "demo-runtime"]
    bench.place({**bench.client.objects["Secret", "default", "provider"], **secret("provider", token="sk-2")})
    await bench.reconcile()
    after = bench.client.objects["Deployment", "default", "demo-runtime"]
    assert [call for call in bench.client.writes() if call[0] == "apply"] == [("apply", "Deployment", "demo-runtime")]
    hashes = [d["spec"]["template"]["metadata"]["annotations"]["aiassistant.dev/config-hash"] for d in (before, after)]
    assert hashes[0] != hashes[1]


async def test_no_secret_value_is_in_any_applied_object_or_status() -> None:
    bench = Bench(providers=PROVIDERS_WITH_KEY)
    bench.place(secret("provider", token="sk-very-secret"))
    await bench.reconcile()
    values = [
        base64.b64decode(value).decode()
        for (kind, _, _), body in bench.client.objects.items()
        if kind == "Secret"
        for key, value in body["data"].items()
        if key != "username"  # Milvus' own name for its first user
    ]
    others = str([body for (kind, _, _), body in bench.client.objects.items() if kind != "Secret"])
    assert values
    assert not [value for value in values if value in others]


async def test_generated_credentials_are_created_once_and_kept() -> None:
    bench = Bench()
    await bench.reconcile()
    before = bench.client.objects["Secret", "default", "demo-redis"]["data"]
    await bench.reconcile(replicas=1)
    assert bench.client.objects["Secret", "default", "demo-redis"]["data"] == before
    password = base64.b64decode(before["password"]).decode()
    assert base64.b64decode(before["url"]).decode() == f"redis://:{password}@demo-redis:6379/0"


async def test_a_generated_secret_that_lost_a_key_gets_it_back_with_the_password_it_has() -> None:
    bench = Bench()
    await bench.reconcile()
    whole = bench.client.objects["Secret", "default", "demo-redis"]
    bench.place({**whole, "data": {"password": whole["data"]["password"]}})
    await bench.reconcile()
    assert bench.client.objects["Secret", "default", "demo-redis"]["data"] == whole["data"]


@pytest.mark.parametrize("written", ["mine", "mine\n"])
async def test_a_password_that_a_person_changes_is_taken_up_everywhere(written: str) -> None:
    bench = Bench()
    await bench.reconcile()
    whole = bench.client.objects["Secret", "default", "demo-redis"]
    bench.place({**whole, "data": {**whole["data"], **secret("x", password=written)["data"]}})
    await bench.reconcile()
    now = bench.client.objects["Secret", "default", "demo-redis"]["data"]
    assert base64.b64decode(now["password"]) == b"mine"
    assert base64.b64decode(now["url"]).decode() == "redis://:mine@demo-redis:6379/0"
    assert b"requirepass mine" in base64.b64decode(now["auth.conf"])
    assert {("apply", "StatefulSet"), ("apply", "Deployment")} <= {call[:2] for call in bench.client.writes()}


def change_password(bench: Bench, password: str) -> None:
    """Have a person change the password of Redis."""
    whole = bench.client.objects["Secret", "default", "demo-redis"]
    bench.place({**whole, "data": {**whole["data"], **secret("x", password=password)["data"]}})


def redis_url(bench: Bench) -> str:
    return base64.b64decode(bench.client.objects["Secret", "default", "demo-redis"]["data"]["url"]).decode()


async def test_what_follows_from_a_changed_password_is_written_also_if_that_fails_at_first() -> None:
    bench = Bench()
    await bench.reconcile()
    change_password(bench, "mine")
    bench.client.refuse(ApiError(500, "InternalError", "etcd is away"), verb="merge")
    await bench.reconcile()
    assert isinstance(bench.error, TransientError)
    bench.client.fail = lambda *_: None
    await bench.reconcile()
    assert redis_url(bench) == "redis://:mine@demo-redis:6379/0"


async def test_what_follows_from_a_changed_password_is_written_also_if_another_assistant_reads_it_first() -> None:
    bench = Bench()
    await bench.reconcile()
    change_password(bench, "mine")
    await bench.reconciler.secrets.facts("default", ["demo-redis"])
    await bench.reconcile()
    assert redis_url(bench) == "redis://:mine@demo-redis:6379/0"


async def test_a_password_that_changes_while_what_follows_from_it_is_written_counts() -> None:
    bench = Bench()
    await bench.reconcile()
    change_password(bench, "mine")

    def change_meanwhile(verb: str, kind: str, _: str) -> None:
        if (verb, kind) == ("merge", "Secret"):
            bench.client.fail = lambda *_: None
            change_password(bench, "another")

    bench.client.fail = change_meanwhile
    await bench.reconcile()
    assert bench.condition("Ready")["reason"] == "Conflict"
    await bench.reconcile()
    assert redis_url(bench) == "redis://:another@demo-redis:6379/0"


async def test_an_assistant_that_is_gone_is_not_made_again() -> None:
    bench = Bench()
    await bench.reconcile()
    bench.client.objects.clear()
    bench.cache = Cache()
    bench.reconciler = Reconciler(bench.client, bench.cache, bench.referenced, IMAGES, Metrics())
    await bench.reconcile()
    assert isinstance(bench.error, GoneError)
    assert bench.client.writes() == []


async def test_an_object_that_lost_its_owner_is_adopted() -> None:
    bench = Bench()
    await bench.reconcile()
    orphan = bench.client.objects["Service", "default", "demo"]
    bench.place({**orphan, "metadata": {**orphan["metadata"], "ownerReferences": []}})
    await bench.reconcile()
    owners = bench.client.objects["Service", "default", "demo"]["metadata"]["ownerReferences"]
    assert [owner["uid"] for owner in owners] == [bench.resource["metadata"]["uid"]]


async def test_nothing_is_written_when_one_part_can_not_be_changed() -> None:
    bench = Bench()
    await bench.reconcile()
    await bench.reconcile(
        replicas=1, redis={"managed": {"maxMemory": "256Mi", "storage": {"storageClassName": "fast"}}}
    )
    assert {call[0] for call in bench.client.writes()} == {"status", "create"}
    stalled = bench.condition("Stalled")
    assert stalled["message"].startswith("spec.redis.managed.storage.storageClassName: can't be changed")


async def test_the_note_of_an_event_is_as_long_as_the_api_server_takes() -> None:
    bench = Bench(**{"é" * 900: True})
    await bench.reconcile()
    (event,) = events(bench.client)
    assert len(event["note"].encode()) <= 1024


async def test_an_event_that_can_not_be_written_fails_nothing() -> None:
    bench = Bench()

    bench.client.refuse(ApiError(403, "Forbidden", "no events here"), kind="Event")
    await bench.reconcile()
    assert bench.error is None


async def test_pods_that_the_api_server_refuses_are_explained() -> None:
    bench = Bench()
    await bench.reconcile()
    refusal = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": "violates PodSecurity"}
    deployment = bench.client.objects["Deployment", "default", "demo-runtime"]
    bench.place({**deployment, "status": {"conditions": [refusal]}})
    await bench.reconcile()
    assert bench.condition("RuntimeReady")["reason"] == "FailedCreate"
    assert "violates PodSecurity" in bench.condition("RuntimeReady")["message"]


async def test_deletion_policy_decides_who_owns_the_credentials() -> None:
    bench = Bench()
    await bench.reconcile()
    assert "ownerReferences" not in bench.client.objects["Secret", "default", "demo-redis"]["metadata"]
    await bench.reconcile(deletionPolicy="Delete")
    owner = bench.client.objects["Secret", "default", "demo-redis"]["metadata"]["ownerReferences"][0]
    assert owner["uid"] == bench.resource["metadata"]["uid"]
    await bench.reconcile(deletionPolicy="Retain")
    assert bench.client.objects["Secret", "default", "demo-redis"]["metadata"]["ownerReferences"] == []


async def test_what_is_kept_of_a_component_that_is_off_has_the_owner_that_the_deletion_policy_says() -> None:
    bench = Bench()
    await bench.reconcile()
    claim = {"name": "data-demo-redis-0", "labels": labels.standard("demo", "redis")}
    bench.place({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": claim})
    await bench.reconcile(redis={"enabled": False})
    kept = (("PersistentVolumeClaim", "default", "data-demo-redis-0"), ("Secret", "default", "demo-redis"))
    for policy, owners in (("Delete", [bench.resource["metadata"]["uid"]]), ("Retain", [])):
        await bench.reconcile(deletionPolicy=policy)
        for name in kept:
            found = bench.client.objects[name]["metadata"].get("ownerReferences") or []
            assert [owner["uid"] for owner in found] == owners
        await bench.reconcile()
        assert not [call for call in bench.client.writes() if call[0] == "merge"]


@pytest.mark.parametrize("kind", ["PersistentVolumeClaim", "Secret"])
@pytest.mark.parametrize(("before", "after"), [("Retain", "Delete"), ("Delete", "Retain")])
async def test_refused_owners_stop_nothing_else_and_passwords_and_volumes_share_one_fate(
    before: str, after: str, kind: str
) -> None:
    bench = Bench(deletionPolicy=before)
    claim = {"name": "data-demo-redis-0", "labels": labels.standard("demo", "redis")}
    bench.place({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": claim})
    await bench.reconcile()
    kept = [name for name in bench.client.objects if name[0] in ("PersistentVolumeClaim", "Secret")]

    def owned() -> set[bool]:
        return {bool(bench.client.objects[name]["metadata"].get("ownerReferences")) for name in kept}

    assert owned() == {before == "Delete"}
    refusal = "cannot set an ownerRef on a resource you can't delete"
    bench.client.refuse(ApiError(403, "Forbidden", refusal), verb="rehearse", kind=kind)
    await bench.reconcile(deletionPolicy=after, replicas=1)
    assert bench.error is None
    assert bench.client.objects["Deployment", "default", "demo-runtime"]["spec"]["replicas"] == 1
    assert owned() == {before == "Delete"}, "the others stay as they are, too"
    told = bench.condition("DeletionPolicyReady")
    assert (told["status"], told["reason"]) == ("False", "OwnersRefused")
    assert told["message"].startswith(f"spec.deletionPolicy: {after} is not in effect")
    assert refusal in told["message"]
    assert bench.condition("Ready")["reason"] != "OwnersRefused"
    bench.client.fail = lambda *_: None
    await bench.reconcile()
    assert owned() == {after == "Delete"}
    assert not bench.condition("DeletionPolicyReady")


async def test_what_a_predecessor_still_owns_is_left_to_it() -> None:
    bench = Bench(deletionPolicy="Delete")
    owner = {"apiVersion": "aiassistant.dev/v1alpha1", "kind": "AIAssistant", "name": "demo", "uid": "uid-of-another"}
    claim = {"name": "data-demo-redis-0", "labels": labels.standard("demo", "redis"), "ownerReferences": [owner]}
    bench.place({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": claim})
    await bench.reconcile()
    assert {call[0] for call in bench.client.writes()} == {"status", "create"}
    assert not [call for call in bench.client.writes() if call[0] == "create" and call[1] != "Event"]
    assert bench.condition("Reconciling")["reason"] == "Terminating"
    assert (
        "PersistentVolumeClaim data-demo-redis-0 of the AIAssistant's predecessor"
        in bench.condition("Ready")["message"]
    )


async def test_the_deletion_policy_counts_also_where_something_is_missing() -> None:
    bench = Bench(deletionPolicy="Delete")
    claim = {"name": "data-demo-redis-0", "labels": labels.standard("demo", "redis")}
    bench.place({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": claim})
    await bench.reconcile()
    kept = (("PersistentVolumeClaim", "default", "data-demo-redis-0"), ("Secret", "default", "demo-redis"))
    assert all(bench.client.objects[name]["metadata"]["ownerReferences"] for name in kept)
    await bench.reconcile(deletionPolicy="Retain", providers=PROVIDERS_WITH_KEY)
    assert bench.condition("Ready")["reason"] == "SecretNotFound"
    assert not any(bench.client.objects[name]["metadata"]["ownerReferences"] for name in kept)


async def test_an_owner_that_another_writer_was_faster_with_is_looked_at_again() -> None:
    bench = Bench(deletionPolicy="Delete")
    await bench.reconcile()
    claim = {"name": "data-demo-redis-0", "labels": labels.standard("demo", "redis")}
    bench.place({"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": claim})
    bench.client.refuse(ApiError(409, "Conflict", "the object has been modified"), verb="merge")
    await bench.reconcile()
    assert bench.error is None


@pytest.mark.parametrize("kind", ["Service", "Secret"])
async def test_a_foreign_object_of_the_same_name_is_left_alone(kind: str) -> None:
    bench = Bench()
    name = {"Service": "demo", "Secret": "demo-redis"}[kind]
    bench.client.put({"kind": kind, "metadata": {"name": name}, "spec": {"mine": True}})
    if kind == "Secret":  # all Secrets are watched, other kinds only by label
        bench.cache.put(kind, bench.client.objects[kind, "default", name])
    status = await bench.reconcile()
    assert bench.client.objects[kind, "default", name]["spec"] == {"mine": True}
    assert bench.condition("Stalled")["reason"] == "NameConflict"
    assert f"{kind} default/{name} exists" in bench.condition("Stalled")["message"]
    assert status["phase"] == "Stalled"


async def test_a_creation_reads_nothing_but_the_assistant() -> None:
    bench = Bench()
    await bench.reconcile()
    assert [call for call in bench.client.calls if call[0] == "get"] == [("get", "AIAssistant", "demo")]


@pytest.mark.parametrize("replaced", [True, False], ids=["replaced", "deleted"])
async def test_what_took_the_place_of_an_object_is_left_alone(replaced: bool) -> None:
    """The watch is late: what it has shown is gone, and another writer may have created an object of that name."""
    bench = Bench()
    await bench.reconcile()
    del bench.client.objects["Deployment", "default", "demo-runtime"]
    if replaced:
        bench.client.put({"kind": "Deployment", "metadata": {"name": "demo-runtime"}, "spec": {"mine": True}})
    await bench.reconcile(replicas=1)
    found = bench.client.objects.get(("Deployment", "default", "demo-runtime"), {})
    assert found.get("spec") == ({"mine": True} if replaced else None)
    assert bench.condition("Ready")["reason"] == "Conflict"


async def test_what_a_deleted_predecessor_leaves_behind_is_waited_for() -> None:
    bench = Bench()
    predecessor = {"kind": "AIAssistant", "name": "demo", "uid": "older", "controller": True}
    bench.client.put({"kind": "Service", "metadata": {"name": "demo", "ownerReferences": [predecessor]}})
    await bench.reconcile()
    assert bench.condition("Reconciling")["reason"] == "Terminating"


async def test_an_invalid_spec_is_stalled_and_nothing_is_touched() -> None:
    bench = Bench()
    await bench.reconcile()
    status = await bench.reconcile(cache={"ttl": "soon"}, colour="blue")
    assert [verb for verb, _, _ in bench.client.writes()] == ["status", "create"]
    message = bench.condition("Stalled")["message"]
    assert "spec.cache.ttl: must be a duration" in message
    assert "spec.colour: is no field of AIAssistant" in message
    assert status["observedGeneration"] == bench.resource["metadata"]["generation"]
    assert bench.condition("RedisReady"), "what was known of the running stack stays"


async def test_refused_for_ever_is_stalled_with_the_api_servers_words() -> None:
    bench = Bench()

    bench.client.refuse(
        ApiError(422, "Invalid", "spec.template.spec.containers[0].name: Invalid value"),
        verb="apply",
        kind="Deployment",
    )
    await bench.reconcile()
    assert bench.condition("Stalled")["reason"] == "InvalidObject"
    assert "containers[0].name" in bench.condition("Stalled")["message"]


async def test_a_namespace_that_goes_away_is_no_failure() -> None:
    bench = Bench()

    def fail(verb: str, kind: str, name: str) -> None:
        if verb in ("create", "apply"):
            raise ApiError(403, "Forbidden", "unable to create new content because it is being terminated")

    bench.client.fail = fail
    await bench.reconcile()
    assert bench.condition("Reconciling")["reason"] == "Terminating"


async def test_readiness_is_told_by_an_event_only_when_it_changes() -> None:
    bench = Bench()
    await bench.reconcile()
    await bench.reconcile(replicas=2)
    assert [(event["type"], event["reason"]) for event in events(bench.client)] == [("Normal", "Progressing")]


def roll_out(bench: Bench) -> None:
    """Report that every workload has all its pods, as Kubernetes' controllers do."""
    for (kind, _, _), workload in list(bench.client.objects.items()):
        if kind in ("Deployment", "StatefulSet"):
            counts = dict.fromkeys(("replicas", "readyReplicas", "updatedReplicas"), workload["spec"]["replicas"])
            bench.place({**workload, "status": {**counts, "observedGeneration": 1}})


async def test_ready_when_every_component_is() -> None:
    bench = Bench(ingress={"enabled": True, "host": "a.example.com"})
    await bench.reconcile()
    roll_out(bench)
    status = await bench.reconcile()
    assert bench.condition("Ready")["status"] == "True"
    assert not bench.condition("Reconciling")
    assert (status["phase"], status["url"], status["readyReplicas"]) == ("Ready", "http://a.example.com", 3)
    assert [c["type"] for c in status["conditions"]] == [
        "Ready",
        "RedisReady",
        "MongoDBReady",
        "MilvusReady",
        "SearXNGReady",
        "RuntimeReady",
        "IngressReady",
    ]


async def test_suspension_is_a_state_and_not_a_failure() -> None:
    bench = Bench(suspend=True)
    status = await bench.reconcile()
    assert status["phase"] == "Suspended"
    assert not bench.condition("Reconciling")
    assert not bench.condition("Stalled")


async def test_a_certificate_that_is_missing_is_named() -> None:
    bench = Bench(ingress={"enabled": True, "host": "a.example.com", "tls": {"secretName": "wildcard"}})
    await bench.reconcile()
    assert bench.condition("IngressReady")["reason"] == "SecretNotFound"
    assert "kubectl -n default create secret tls wildcard" in bench.condition("IngressReady")["message"]
    bench.place(secret("wildcard", **{"tls.crt": "x"}))
    await bench.reconcile()
    assert bench.condition("IngressReady")["status"] == "True"


async def test_drift_that_apply_can_not_merge_is_put_back_whole() -> None:
    bench = Bench()
    await bench.reconcile()
    live = bench.client.objects["Service", "default", "demo"]
    bench.place({**live, "spec": {**live["spec"], "ports": [{**live["spec"]["ports"][0], "port": 81}]}})
    refused: list[str] = []

    def fail(verb: str, kind: str, name: str) -> None:
        if (verb, kind) == ("apply", "Service") and not refused:
            refused.append(name)
            raise ApiError(422, "Invalid", "spec.ports[1].name: Duplicate value")

    bench.client.fail = fail
    await bench.reconcile()
    verbs = [verb for verb, kind, _ in bench.client.writes() if kind == "Service"]
    assert verbs == ["apply", "merge", "apply"]


async def test_an_object_of_the_wrong_form_is_stalled() -> None:
    bench = Bench()

    bench.client.refuse(
        ApiError(500, "", "failed to create typed patch object: .spec.containrs: field not declared"),
        verb="apply",
        kind="Deployment",
    )
    await bench.reconcile()
    assert bench.condition("Stalled")["reason"] == "InvalidObject"


def _unready_pod(bench: Bench, *containers: Object) -> Object:
    """The pod of Redis as the watch brings it, not ready."""
    redis = bench.client.objects["StatefulSet", "default", "demo-redis"]
    metadata = {"name": "demo-redis-0", "uid": "pod", "labels": redis["spec"]["template"]["metadata"]["labels"]}
    unready = {"type": "Ready", "status": "False", "lastTransitionTime": "2026-01-01T12:00:00Z"}
    return {
        "kind": "Pod",
        "metadata": metadata,
        "status": {"conditions": [unready], "containerStatuses": [*containers]},
    }


async def test_the_output_of_a_crash_is_told_without_the_secrets_in_it() -> None:
    bench = Bench()
    await bench.reconcile()
    stored = bench.client.objects["Secret", "default", "demo-redis"]["data"]
    password = base64.b64decode(stored["password"]).decode()
    ended = {"exitCode": 1, "reason": "Error", "message": f"can't use password {password}"}
    bench.place(_unready_pod(bench, {"name": "redis", "ready": False, "state": {"terminated": ended}}))
    await bench.reconcile()
    told = bench.condition("RedisReady")
    assert told["reason"] == "Crashed"
    assert told["message"].endswith("exited with code 1 (Error): can't use password ***")
    reads = [call for call in bench.client.calls if call[:2] == ("get", "Secret")]
    assert reads
    await bench.reconcile()
    assert not [call for call in bench.client.calls if call[:2] == ("get", "Secret")], "once for each crash"


async def test_the_output_of_a_crash_is_told_without_a_password_as_it_stands_in_a_url() -> None:
    bench = Bench()
    await bench.reconcile()
    change_password(bench, "p@ssword")
    ended = {"exitCode": 1, "reason": "Error", "message": "no route to redis://:p%40ssword@10.0.0.1"}
    bench.place(_unready_pod(bench, {"name": "redis", "ready": False, "state": {"terminated": ended}}))
    await bench.reconcile()
    assert bench.condition("RedisReady")["message"].endswith("no route to redis://:***@10.0.0.1")


@pytest.mark.parametrize(
    ("trying", "waiting"),
    [
        ({"terminated": {"exitCode": 1, "reason": "Error"}}, "CrashLoopBackOff"),
        ({"waiting": {"reason": "ErrImagePull"}}, "ImagePullBackOff"),
    ],
    ids=["crash", "image"],
)
async def test_what_is_tried_again_and_again_is_told_by_one_event(trying: Object, waiting: str) -> None:
    bench = Bench()
    await bench.reconcile()
    reasons = []
    for _ in range(3):
        for state in (trying, {"waiting": {"reason": waiting}}):
            last = {"lastState": trying} if "terminated" in trying else {}
            bench.place(_unready_pod(bench, {"name": "redis", "ready": False, "state": state, **last}))
            await bench.reconcile()
            reasons.append(bench.condition("Ready")["reason"])
    assert len(set(reasons)) == 2, "the condition says which it is"
    assert [event["reason"] for event in events(bench.client)] == ["Progressing", reasons[0]]


async def test_what_a_crash_wrote_is_left_out_while_the_secrets_can_not_be_read() -> None:
    bench = Bench()
    await bench.reconcile()
    ended = {"exitCode": 1, "reason": "Error", "message": "can't use password hunter2"}
    bench.place(_unready_pod(bench, {"name": "redis", "ready": False, "state": {"terminated": ended}}))
    bench.client.refuse(ApiError(500, "InternalError", "etcd is away"), verb="get", kind="Secret")
    await bench.reconcile()
    assert "hunter2" not in bench.condition("RedisReady")["message"]


async def test_a_pod_that_is_not_ready_is_asked_about_until_it_is() -> None:
    bench = Bench()
    await bench.reconcile()
    pod = _unready_pod(bench, {"name": "redis", "ready": False, "state": {"running": {}}})
    bench.place(pod)
    note = {"type": "Warning", "reason": "Unhealthy", "note": "Readiness probe failed: refused"}
    bench.client.told["pod"] = [{**note, "deprecatedCount": 2, "deprecatedLastTimestamp": "2026-01-01T12:00:09Z"}]
    outcome = await bench.reconciler.reconcile(bench.resource)
    bench.resource = outcome.resource
    assert outcome.unsettled
    assert bench.condition("RedisReady")["reason"] == "Unhealthy"
    roll_out(bench)
    outcome = await bench.reconciler.reconcile(bench.resource)
    assert not outcome.unsettled
    bench.resource = outcome.resource
    await bench.reconcile()
    assert bench.client.calls == []


@pytest.mark.parametrize(
    ("kind", "name", "spec"),
    [
        ("Service", "demo", {}),
        ("Secret", "demo-redis", {"deletionPolicy": "Delete"}),
        ("PersistentVolumeClaim", "data-demo-redis-0", {"deletionPolicy": "Delete"}),
    ],
)
async def test_what_the_garbage_collector_lets_go_of_is_not_taken_back_by_an_assistant_that_goes(
    kind: str, name: str, spec: dict[str, Any]
) -> None:
    """Kubernetes orphans the objects of an assistant before it deletes that, and the deletion may be told later."""
    bench = Bench(**spec)
    await bench.reconcile()
    claim = {"kind": kind, "metadata": {"name": name, "labels": labels.standard("demo", "redis")}}
    orphan = bench.client.objects.get((kind, "default", name), claim)
    bench.place({**orphan, "metadata": {**orphan["metadata"], "ownerReferences": []}})
    bench.delete_unseen()
    await bench.reconcile()
    assert isinstance(bench.error, GoneError)
    assert bench.client.writes() == []


async def test_an_assistant_that_is_being_deleted_makes_nothing_again() -> None:
    bench = Bench()
    await bench.reconcile()
    bench.cache.remove("Service", bench.client.objects["Service", "default", "demo"])
    bench.delete_unseen()
    await bench.reconcile()
    assert isinstance(bench.error, GoneError)
    assert bench.client.writes() == []
