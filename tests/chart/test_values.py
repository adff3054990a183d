"""Every value of the chart has an effect, and only values that exist are accepted."""

from collections.abc import Iterator
from typing import Any

import pytest
import yaml

from assistant_operator.settings import DEFAULT_IMAGES
from tests.chart.conftest import CHART, Chart, HelmError

CHANGED = {
    "image.repository": "registry.example.com/team/assistant-operator",
    "image.tag": "9.9.9",
    "image.digest": "sha256:" + "a" * 64,
    "image.pullPolicy": "Always",
    "imagePullSecrets": [{"name": "registry"}],
    **{f"defaultImages.{name}": f"registry.example.com/team/{name}:9.9.9" for name in DEFAULT_IMAGES},
    "replicas": 3,
    "leaderElection.leaseDurationSeconds": 15,
    "leaderElection.renewDeadlineSeconds": 5,
    "leaderElection.retryPeriodSeconds": 1,
    "watchNamespaces": ["team-a"],
    "workers": 3,
    "resyncSeconds": 33,
    "log.level": "DEBUG",
    "log.format": "console",
    "resources.requests.cpu": "333m",
    "resources.requests.memory": "333Mi",
    "resources.limits.memory": "666Mi",
    "nodeSelector": {"kubernetes.io/arch": "amd64"},
    "tolerations": [{"key": "dedicated", "operator": "Exists", "effect": "NoSchedule"}],
    "affinity": {"podAntiAffinity": {"preferredDuringSchedulingIgnoredDuringExecution": []}},
    "priorityClassName": "system-cluster-critical",
    "podAnnotations": {"example.com/note": "changed"},
    "podLabels": {"example.com/team": "changed"},
    "serviceAccount.create": False,
    "serviceAccount.name": "changed",
    "serviceAccount.annotations": {"example.com/note": "changed"},
    "rbac.create": False,
    "rbac.aggregate": False,
    "rbac.deleteKept": True,
    "crds.install": False,
    "crds.keep": False,
    "metrics.service.enabled": False,
    "metrics.service.port": 9999,
    "metrics.service.annotations": {"prometheus.io/scrape": "true"},
    "nameOverride": "changed",
    "fullnameOverride": "changed",
}


def leaves(values: dict[str, Any], prefix: str = "") -> Iterator[str]:
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from leaves(value, f"{prefix}{key}.")
        else:
            yield prefix + key


def nested(path: str, value: Any) -> dict[str, Any]:
    for key in reversed(path.split(".")):
        value = {key: value}
    return value


@pytest.fixture(scope="module")
def default_render(chart: Chart) -> str:
    return chart.text()


def test_the_table_above_names_every_value(chart: Chart) -> None:
    assert sorted([*CHANGED, "leaderElection.enabled"]) == sorted(leaves(chart.values))


@pytest.mark.parametrize("path", CHANGED)
def test_changing_the_value_changes_the_objects(path: str, chart: Chart, default_render: str) -> None:
    assert chart.text(nested(path, CHANGED[path])) != default_render


def test_without_leader_election_there_is_one_pod_at_a_time(chart: Chart) -> None:
    values = {"leaderElection": {"enabled": False}, "replicas": 1}
    spec = chart.one("Deployment", values)["spec"]
    assert (spec["replicas"], spec["strategy"]) == (1, {"type": "Recreate"})
    assert "Lease" not in chart.text(values)
    assert "leases" not in chart.text({**values, "crds": {"install": False}})


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"leaderElection": {"enabled": False}}, "replicas: only one pod may run without leader election; set"),
        (
            {"leaderElection": {"renewDeadlineSeconds": 9}},
            "leaderElection.renewDeadlineSeconds: must be at least 2 less than leaderElection.leaseDurationSeconds",
        ),
        (
            {"leaderElection": {"retryPeriodSeconds": 4}},
            "leaderElection.retryPeriodSeconds: must be at most half of leaderElection.renewDeadlineSeconds",
        ),
        ({"leaderElection": {"leaseDurationSeconds": 301}}, "at '/leaderElection/leaseDurationSeconds': maximum"),
        ({"replicas": 11}, "at '/replicas': maximum: got 11, want 10"),
    ],
)
def test_values_that_contradict_each_other_are_refused(values: dict[str, Any], message: str, chart: Chart) -> None:
    with pytest.raises(HelmError, match=message):
        chart.text(values)


def blocks(values: dict[str, Any], prefix: str = "") -> Iterator[str]:
    yield prefix
    for key, value in values.items():
        if isinstance(value, dict) and value:
            yield from blocks(value, f"{prefix}{key}.")


OPEN_BLOCKS = {
    "resources.requests.": "any resource's name is a key here",
    "resources.limits.": "any resource's name is a key here",
}


@pytest.mark.parametrize(
    "block", sorted(set(blocks(yaml.safe_load((CHART / "values.yaml").read_text()))) - OPEN_BLOCKS.keys())
)
def test_an_unknown_value_is_refused_by_name(block: str, chart: Chart) -> None:
    with pytest.raises(HelmError, match="additional properties 'replicaz' not allowed"):
        chart.text(nested(f"{block}replicaz", 2))


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("image.pullPolicy", "Sometimes", "'Always', 'IfNotPresent', 'Never'"),
        ("image.digest", "sha256:abc", "at '/image/digest': .* does not match pattern"),
        ("workers", 0, "at '/workers': minimum: got 0, want 1"),
        ("workers", "many", "at '/workers': got string, want integer"),
        ("log.level", "LOUD", "at '/log/level': value must be one of 'DEBUG'"),
        ("watchNamespaces", ["Team A"], "at '/watchNamespaces/0': 'Team A' does not match pattern"),
        ("defaultImages.redis", "redis", "at '/defaultImages/redis': 'redis' does not match pattern"),
        ("workers", 65, "at '/workers': maximum: got 65, want 64"),
        ("resyncSeconds", 86401, "at '/resyncSeconds': maximum: got 86,401, want 86,400"),
        ("image.repository", "a/operator:1", "at '/image/repository': .* does not match pattern"),
        ("image.repository", "operator@sha256:abc", "at '/image/repository': .* does not match pattern"),
        ("podLabels", {"app.kubernetes.io/name": "x"}, "invalid propertyName 'app.kubernetes.io/name'"),
        ("podLabels", {"app.kubernetes.io/instance": "x"}, "invalid propertyName 'app.kubernetes.io/instance'"),
        ("podAnnotations", {"kubectl.kubernetes.io/default-container": "x"}, "invalid propertyName"),
        ("podLabels", {"count": 1}, "at '/podLabels/count': got number, want string"),
    ],
)
def test_a_bad_value_is_refused_with_its_path(path: str, value: Any, message: str, chart: Chart) -> None:
    with pytest.raises(HelmError, match=message):
        chart.text(nested(path, value))


def test_every_paragraph_of_values_is_documented() -> None:
    paragraphs = (CHART / "values.yaml").read_text().strip().split("\n\n")
    assert [text for text in paragraphs if "#" not in text] == []
