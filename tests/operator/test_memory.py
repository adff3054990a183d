"""What the operator keeps in memory costs what it is, and no multiple of it."""

import subprocess
import sys
from typing import Any

import pytest

from assistant_operator.cluster.apply import matches, stamped
from assistant_operator.cluster.cache import Cache
from assistant_operator.cluster.client import _next_limit
from assistant_operator.cluster.digests import LONGEST
from assistant_operator.health import trouble

OBJECTS = 6_000
PROGRAM = f"""
from pathlib import Path
from assistant_operator.cluster.cache import Cache

def resident():
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096

cache = Cache()
variables = [{{"name": f"NAME_{{n}}", "value": "v" * 20}} for n in range(40)]
spec = {{"template": {{"spec": {{"containers": [{{"name": "runtime", "env": variables}}]}}}}}}
before = resident()
for number in range({OBJECTS}):
    metadata = {{"namespace": "default", "name": f"object-{{number}}", "uid": "u", "resourceVersion": "1"}}
    cache.put("Deployment", {{"metadata": metadata, "spec": spec}})
kept = sum(len(entry.body) for entry in cache._entries.values())
print(resident() - before, kept)
"""


def test_a_cached_object_costs_about_its_own_size() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    resident, kept = map(int, done.stdout.split())
    assert kept > OBJECTS * 1000, "the objects are in the cache"
    assert resident < 2 * kept + OBJECTS * 1000, "bytes, and a few hundred an entry for its reference and index"


def _config_map(text: str, **metadata: Any) -> dict[str, Any]:
    head = {"namespace": "default", "name": "demo", "uid": "u", "resourceVersion": "1", **metadata}
    return {"metadata": head, "data": {"file": text}}


def test_a_long_text_costs_its_digest_and_is_compared_all_the_same() -> None:
    cache = Cache()
    wanted = stamped(_config_map("a" * 10**6))
    cache.put("ConfigMap", wanted | {"metadata": wanted["metadata"] | {"annotations": {"theirs": "b" * 10**5}}})
    assert sum(len(entry.body) for entry in cache._entries.values()) < 1000
    live = cache.get("ConfigMap", "default", "demo")
    assert matches({"data": wanted["data"]}, live)
    assert not matches({"data": {"file": "a" * (10**6 - 1) + "b"}}, live)
    assert not matches({"data": {"file": "short"}}, live)


def test_a_short_text_that_became_a_long_one_is_another() -> None:
    cache = Cache()
    cache.put("ConfigMap", _config_map("short" * 10_000))
    assert not matches({"data": {"file": "short"}}, cache.get("ConfigMap", "default", "demo"))


def test_the_long_message_of_a_large_object_s_status_stays_readable() -> None:
    """An admission webhook's refusal of a pod may have any length, and the AIAssistant's condition quotes it."""
    refusal = "admission webhook denied the request: " + "a rule of the house. " * 500
    failure = {"type": "ReplicaFailure", "status": "True", "reason": "FailedCreate", "message": refusal}
    metadata = _config_map("")["metadata"]
    spec = {"template": {"spec": {"containers": [{"name": "runtime", "args": ["a" * 20_000]}]}}}
    cache = Cache()
    cache.put("Deployment", {"metadata": metadata, "spec": spec, "status": {"conditions": [failure]}})
    live = cache.get("Deployment", "default", "demo")
    assert live
    found = trouble.first(trouble.Scene(live))
    assert found
    assert found.message.startswith("admission webhook denied the request: a rule of the house.")
    assert len(found.message) <= LONGEST
    assert matches({"spec": spec}, live)


@pytest.mark.parametrize(
    ("size", "count", "limit"),
    [(25 * 1024, 25, 500), (25 * 1024**2, 25, 5), (25 * 64 * 1024, 25, 64), (0, 0, 500)],
    ids=["small objects", "a mebibyte each", "64 KiB each", "none"],
)
def test_a_page_has_as_many_objects_as_fit_into_some_mebibytes(size: int, count: int, limit: int) -> None:
    assert _next_limit(size, count) == limit
