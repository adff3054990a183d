"""What a policy of the namespace asks of the servers' pods, the Jobs that set them up meet too."""

from typing import Any

from assistant_operator import desired
from tests.operator.assistants import assistant, facts

OVERLAY: dict[str, Any] = {
    "metadata": {"labels": {"team": "search"}, "annotations": {"sidecar.istio.io/inject": "false"}},
    "spec": {
        "runtimeClassName": "gvisor",
        "schedulerName": "volcano",
        "securityContext": {"runAsUser": 1234},
        "topologySpreadConstraints": [],
        "volumes": [{"name": "extra", "emptyDir": {}}],
        "containers": [
            {"name": "mongodb", "securityContext": {"runAsUser": 1234}, "env": [{"name": "A", "value": "b"}]},
            {"name": "exporter", "image": "registry.example.com/exporter:1"},
        ],
    },
}
RESOURCES = {"requests": {"memory": "2Gi"}, "limits": {"memory": "4Gi"}}


def _pods() -> dict[str, dict[str, Any]]:
    """Return the templates of MongoDB's server and of its Job, by kind."""
    found = assistant(mongodb={"managed": {"resources": RESOURCES, "podTemplate": OVERLAY}})
    objects = desired.desired(found, facts(found)).objects
    named = [body for body in objects if body["metadata"]["name"].startswith("demo-mongodb")]
    return {body["kind"]: body["spec"]["template"] for body in named if "template" in body.get("spec", {})}


def test_a_job_has_what_the_overlay_says_of_any_pod() -> None:
    job = _pods()["Job"]
    assert job["metadata"]["labels"]["team"] == "search"
    assert job["metadata"]["annotations"]["sidecar.istio.io/inject"] == "false"
    assert (job["spec"]["runtimeClassName"], job["spec"]["schedulerName"]) == ("gvisor", "volcano")
    assert job["spec"]["securityContext"]["runAsUser"] == 1234


def test_a_job_has_the_resources_and_the_security_of_its_server() -> None:
    pods = _pods()
    (container,) = pods["Job"]["spec"]["containers"]
    server = next(each for each in pods["StatefulSet"]["spec"]["containers"] if each["name"] == "mongodb")
    assert container["resources"] == server["resources"] == RESOURCES
    assert container["securityContext"] == server["securityContext"]
    assert "A" not in {variable["name"] for variable in container["env"]}


def test_a_job_has_nothing_that_would_keep_it_from_ending() -> None:
    job = _pods()["Job"]["spec"]
    assert [container["name"] for container in job["containers"]] == ["setup"]
    assert "extra" not in {volume["name"] for volume in job["volumes"]}
    assert job["restartPolicy"] == "OnFailure"
