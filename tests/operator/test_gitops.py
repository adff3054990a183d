"""What tools of GitOps conclude from the status: Flux by kstatus, Argo CD by the health check of manifests/argocd."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from lupa.lua51 import LuaRuntime

from assistant_operator import conditions
from assistant_operator.components import redis, runtime
from assistant_operator.errors import ReconcileError, StalledError, TransientError, WaitingError
from assistant_operator.health import status
from assistant_operator.health.status import Assessed, Findings
from assistant_operator.health.workload import Health
from assistant_operator.rooms.component import Component
from assistant_operator.rooms.manifests import Object
from tests.operator.assistants import assistant, resource
from tests.support.kstatus import statuses

PATCH = Path(__file__).parents[2] / "manifests/argocd/health.yaml"
NOW = "2026-01-01T00:00:00Z"


def _found(runtime_health: Health, redis_health: Health | None = None) -> Findings:
    return Findings(
        [_assessed(runtime.COMPONENT, runtime_health), _assessed(redis.COMPONENT, redis_health or runtime_health)]
    )


def _assessed(component: Component, health: Health) -> Assessed:
    return Assessed(component.name, component.condition, "Managed", health)


def _ended(error: ReconcileError) -> Findings:
    return Findings(error=error)


READY = Health(True, conditions.READY, "3/3 pods are ready.")
STARTING = Health(False, conditions.PROGRESSING, "0/3 pods are ready.")
ZERO = Health(False, conditions.SCALED_TO_ZERO, "spec.replicas is 0: no pods run.")
SUSPENDED = Health(False, conditions.SUSPENDED, "spec.suspend is true: no pods run.")
CRASHED = Health(False, conditions.CRASHED, "pod demo-0 exited with code 1")
GROWING = Health(True, conditions.READY, "1/1 pods are ready.", growth="data-demo-redis-0 grows from 1Gi to 2Gi")

STATES = {
    "ready": (_found(READY), "Current", "Healthy"),
    "starting": (_found(STARTING, READY), "InProgress", "Progressing"),
    "crashed": (_found(CRASHED, READY), "InProgress", "Progressing"),
    "a volume grows": (_found(READY, GROWING), "InProgress", "Progressing"),
    "suspended": (_found(SUSPENDED), "Current", "Suspended"),
    "scaled to zero": (_found(ZERO, READY), "Current", "Healthy"),
    "scaled to zero, while a server starts": (_found(ZERO, STARTING), "InProgress", "Progressing"),
    "suspended, while pods stop": (_found(STARTING, SUSPENDED), "InProgress", "Progressing"),
    "a Secret is missing": (
        _ended(WaitingError(conditions.SECRET_NOT_FOUND, "Secret default/key does not exist.")),
        "InProgress",
        "Progressing",
    ),
    "the API server fails": (_ended(TransientError(conditions.API_ERROR, "500")), "InProgress", "Progressing"),
    "stalled": (_ended(StalledError(conditions.INVALID_OBJECT, "refused")), "Failed", "Degraded"),
}
SAMPLES = {
    name: {**resource(), "status": status.build(assistant(), found, {}, NOW)} for name, (found, _, _) in STATES.items()
}
UNSEEN = {**resource(), "status": {"observedGeneration": -1}}
OUTDATED = {**SAMPLES["ready"], "metadata": {**SAMPLES["ready"]["metadata"], "generation": 2}}


def test_kstatus_knows_every_state() -> None:
    expected = {name: told for name, (_, told, _) in STATES.items()} | {"unseen": "InProgress", "old": "InProgress"}
    samples = {**SAMPLES, "unseen": UNSEEN, "old": OUTDATED}
    assert dict(zip(samples, statuses(samples.values()), strict=True)) == expected


@pytest.mark.parametrize("state", STATES)
def test_argo_cd_knows_every_state(state: str) -> None:
    health = _argo_cd(SAMPLES[state])
    ready = next(found for found in SAMPLES[state]["status"]["conditions"] if found["type"] == "Ready")
    assert health["status"] == STATES[state][2]
    assert health["message"] in (ready["message"], GROWING.growth)


@pytest.mark.parametrize("sample", [resource(), UNSEEN, OUTDATED], ids=["no status", "unseen", "outdated"])
def test_argo_cd_waits_for_the_operator_to_see_the_newest_spec(sample: Object) -> None:
    assert _argo_cd(sample)["status"] == "Progressing"


def _argo_cd(sample: Object) -> dict[str, str]:
    """Run the health check as Argo CD does: Lua 5.1, with the object as `obj`, and a table as its answer."""
    (script,) = yaml.safe_load(PATCH.read_text())["data"].values()
    lua = LuaRuntime()
    lua.globals()["obj"] = _table(lua, sample)
    return dict(lua.execute(script).items())


def _table(lua: Any, value: Any) -> Any:
    if isinstance(value, dict):
        return lua.table_from({key: _table(lua, inner) for key, inner in value.items()})
    if isinstance(value, list):
        return lua.table_from([_table(lua, inner) for inner in value])
    return value
