"""Objects of every other operator, as an API server keeps them, are read as the golden files say.

The operators do not run here; the tests write what they would write, which is in the golden inputs.
"""

from collections.abc import Iterator

import pytest

from devcluster.cluster import Cluster
from tests.cluster.referenced import CASES, make, read, told
from tests.cluster.test_reconcile import create
from tests.support.api import Object
from tests.support.kube import Kube, audit_mark, audited, eventually

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("operator", "objects")]


@pytest.fixture
def objects(kube: Kube) -> Iterator[None]:
    """Nothing of the test is left in the kinds that all tests share."""
    yield
    kube.run("delete", "aia", "--all")


@pytest.mark.parametrize("name", CASES)
def test_an_object_is_read_as_the_golden_file_says(kube: Kube, name: str) -> None:
    case = read(name, kube.namespace)
    make(kube, case)
    create(kube, **case.spec)
    assert told(kube) == case.environment
    live = kube.must(case.named.kind.crd, case.named.name)
    healthy = case.named.kind.health(live)
    seen = kube.wait_for_reason("demo", healthy.reason, case.condition)
    assert (seen["status"], seen["message"]) == ("True", healthy.message)


def test_an_assistant_of_other_operators_objects_costs_no_request(kube: Kube, control_plane: Cluster) -> None:
    cases = [read(name, kube.namespace) for name in ("redis-cluster-object", "percona-mongodb", "milvus-object")]
    spec: Object = {"searxng": {"enabled": False}}
    for case in cases:
        make(kube, case)
        spec |= case.spec
    create(kube, **spec)
    eventually(lambda: (kube.must("aia", "demo").get("status") or {}).get("replicas") == 3, "all pods are counted")
    for case in cases:
        kube.wait_for_reason("demo", "Ready", case.condition)
    mark = audit_mark(control_plane)
    for case in cases:
        kube.run("label", case.named.kind.crd, case.named.name, "example.com/look=again")
    kube.run("annotate", "aia", "demo", "example.com/look=again")
    create(kube, "later", redis={"enabled": False})
    requests = audited(control_plane, mark, kube.namespace)
    assert requests["patch", "deployments", "later-runtime"] == 1, "the audit log shows requests"
    plurals, names = {case.named.kind.plural for case in cases}, ("demo", *(case.named.name for case in cases))
    secrets = {name for case in cases for name in case.secrets}
    assert not [request for request in requests if request[1] in plurals or request[2].startswith(names)]
    assert not [request for request in requests if request[2] in secrets]


def test_an_object_that_can_not_be_used_is_told_until_it_can(kube: Kube) -> None:
    case = read("percona-mongodb", kube.namespace)
    usable = case.body["spec"]["replsets"][0].pop("configuration")
    make(kube, case)
    create(kube, **case.spec)
    stalled = kube.wait_for_reason("demo", "ObjectUnusable", "Stalled")
    assert stalled["message"].startswith("spec.mongodb.operatorRef: PerconaServerMongoDB documents asks every client")
    assert kube.get("deployment", "demo-runtime") is None
    case.body["spec"]["replsets"][0]["configuration"] = usable
    make(kube, case)
    assert told(kube) == case.environment
