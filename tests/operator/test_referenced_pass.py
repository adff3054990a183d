"""A pass over an assistant one of whose servers is an object of another operator, at its worst."""

from typing import Any, cast

import pytest

from assistant_operator.cluster.referenced import Referenced
from assistant_operator.reconcile import Reconciler
from assistant_operator.rooms.manifests import Object
from assistant_operator.telemetry import Metrics
from tests.operator.assistants import IMAGES
from tests.operator.bad_input import MILVUS, PERCONA
from tests.operator.bad_input import REDIS as CLUSTER
from tests.operator.test_reconcile import Bench, secret

ACCOUNT = {"usernameFrom": {"name": "account"}, "passwordFrom": {"name": "account"}}
LOCKED: Object = {"config": {"common": {"security": {"authorizationEnabled": True}}}}


class Seen:
    """What the watches saw: objects of other operators with one spec."""

    def __init__(self, spec: Object) -> None:
        self.spec = spec

    def all_seen(self, namespace: str, wanted: dict[str, Any]) -> dict[str, Object]:
        return {component: self._body(namespace, named) for component, named in wanted.items()}

    async def read(self, namespace: str, wanted: Any) -> Object:
        return self._body(namespace, wanted)

    def _body(self, namespace: str, wanted: Any) -> Object:
        return {"metadata": {"name": wanted.name, "namespace": namespace}, "spec": self.spec, "status": {}}


def _bench(seen: Object, **spec: Any) -> Bench:
    bench = Bench(**spec)
    bench.reconciler = Reconciler(bench.client, bench.cache, cast("Referenced", Seen(seen)), IMAGES, Metrics())
    return bench


@pytest.mark.parametrize(
    ("spec", "seen", "message"),
    [
        ({"milvus": {"enabled": True, "operatorRef": MILVUS}}, LOCKED, "spec.milvus.operatorRef: Milvus vectors asks"),
        (
            {"mongodb": {"enabled": True, "operatorRef": PERCONA}},
            {"tls": {"mode": "requireTLS"}},
            "spec.mongodb.operatorRef: PerconaServerMongoDB main asks every client for a certificate",
        ),
    ],
)
async def test_an_object_that_can_not_be_used_stalls_and_nothing_is_written(
    spec: Object, seen: Object, message: str
) -> None:
    bench = _bench(seen, **spec)
    await bench.reconcile()
    stalled = bench.condition("Stalled")
    assert (stalled["status"], stalled["reason"]) == ("True", "ObjectUnusable")
    assert stalled["message"].startswith(message)
    assert {verb for verb, _, _ in bench.client.writes()} == {"status", "create"}, "status and event only"
    assert [kind for verb, kind, _ in bench.client.writes() if verb == "create"] == ["Event"]


async def test_a_secret_that_the_object_names_is_awaited_with_its_key() -> None:
    seen = {"kubernetesConfig": {"redisSecret": {"name": "redis-secret", "key": "password"}}}
    bench = _bench(seen, redis={"operatorRef": CLUSTER})
    await bench.reconcile()
    missing = bench.condition("Ready")
    assert missing["reason"] == "SecretNotFound"
    assert missing["message"].startswith(
        "spec.redis.operatorRef: the OpsTree Redis operator has not yet put key password"
    )
    assert missing["message"].endswith("Where that is a Secret of yours which the object names, create it.")
    bench.place({**secret("redis-secret", other="x"), "metadata": {"name": "redis-secret", "namespace": "default"}})
    await bench.reconcile()
    assert bench.condition("Ready")["reason"] == "SecretKeyNotFound"
    bench.place({**secret("redis-secret", password="x"), "metadata": {"name": "redis-secret", "namespace": "default"}})
    await bench.reconcile()
    assert bench.error is None


async def test_the_output_of_a_crash_is_told_without_the_secrets_that_the_object_names() -> None:
    seen = {"kubernetesConfig": {"redisSecret": {"name": "redis-secret", "key": "password"}}}
    bench = _bench(seen, redis={"operatorRef": CLUSTER})
    bench.place(secret("redis-secret", password="hunter22"))
    await bench.reconcile()
    deployment = bench.client.objects["Deployment", "default", "demo-runtime"]
    ended = {"exitCode": 1, "reason": "Error", "message": "can't use password hunter22"}
    container = {"name": "runtime", "ready": False, "state": {"terminated": ended}}
    pod = {"name": "demo-runtime-0", "labels": deployment["spec"]["template"]["metadata"]["labels"]}
    bench.place({"kind": "Pod", "metadata": pod, "status": {"containerStatuses": [container]}})
    await bench.reconcile()
    assert bench.condition("RuntimeReady")["message"].endswith("can't use password ***")


async def test_a_secret_that_the_reference_names_is_the_users_to_create() -> None:
    bench = _bench(LOCKED, milvus={"enabled": True, "operatorRef": MILVUS | ACCOUNT})
    await bench.reconcile()
    missing = bench.condition("Ready")
    assert missing["reason"] == "SecretNotFound"
    assert missing["message"].startswith("spec.milvus.operatorRef.usernameFrom: there is no Secret account")
    assert "create secret generic account --from-literal=username=VALUE" in missing["message"]
