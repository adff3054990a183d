"""When is an object as it should be? What the API server rewrites is no drift, what a person changes is."""

from typing import Any

import pytest

from assistant_operator.cluster.apply import immutable_changes, matches

CONTAINER = {"name": "runtime", "image": "a:1", "env": [{"name": "A", "value": "1"}]}


@pytest.mark.parametrize(
    ("wanted", "live"),
    [
        ({"a": 1}, {"a": 1, "defaulted": True}),
        (
            {"resources": {"limits": {"cpu": "1000m", "memory": "1024Mi"}}},
            {"resources": {"limits": {"cpu": "1", "memory": "1Gi"}}},
        ),
        ({"resources": {"requests": {"cpu": 2}}}, {"resources": {"requests": {"cpu": "2"}}}),
        ({"emptyDir": {"sizeLimit": "1024Mi"}}, {"emptyDir": {"sizeLimit": "1Gi"}}),
        ({"emptyDir": {}}, {}),
        ({"env": [{"name": "A", "value": ""}]}, {"env": [{"name": "A"}]}),
        ({"containers": [CONTAINER]}, {"containers": [{"name": "injected"}, {**CONTAINER, "tty": False}]}),
        ({"drop": ["ALL"]}, {"drop": ["ALL"]}),
        ({"pullSecrets": []}, {}),
    ],
)
def test_a_difference_that_is_none(wanted: Any, live: Any) -> None:
    assert matches(wanted, live)


@pytest.mark.parametrize(
    ("wanted", "live"),
    [
        ({"a": 1}, {}),
        ({"a": 1}, {"a": 2}),
        ({"a": True}, {"a": 1}),
        ({"replicas": 0}, {"replicas": 3}),
        ({"limits": {"cpu": "1"}}, {"limits": {"cpu": "2"}}),
        ({"limits": {"cpu": "1"}}, {"limits": {}}),
        ({"value": "1000m"}, {"value": "1"}),
        ({"containers": [CONTAINER]}, {"containers": [{**CONTAINER, "image": "a:2"}]}),
        ({"containers": [CONTAINER]}, {"containers": []}),
        ({"drop": ["ALL"]}, {"drop": ["ALL", "NET_RAW"]}),
        ({"drop": ["ALL"]}, {"drop": ["NET_RAW"]}),
        ({"a": {"b": 1}}, {"a": "text"}),
    ],
)
def test_a_difference_that_counts(wanted: Any, live: Any) -> None:
    assert not matches(wanted, live)


@pytest.mark.parametrize(
    ("wanted", "more"),
    [
        ({"selector": {"app": "a"}}, {"selector": {"app": "a", "extra": "x"}}),
        (
            {"selector": {"matchLabels": {"app": "a"}}},
            {"selector": {"matchLabels": {"app": "a"}, "matchExpressions": [{"key": "extra", "operator": "Exists"}]}},
        ),
        ({"selector": {"matchLabels": {"app": "a"}}}, {"selector": {"matchLabels": {"app": "a", "extra": "x"}}}),
        ({"rules": [{"host": "a"}]}, {"rules": [{"host": "a"}, {"host": "b"}]}),
        ({"tls": [{"hosts": ["a"]}]}, {"tls": [{"hosts": ["a"]}, {"hosts": ["b"]}]}),
    ],
)
def test_what_is_added_to_a_field_that_is_set_as_a_whole_counts(wanted: Any, more: Any) -> None:
    assert not matches(wanted, more)
    assert matches(wanted, wanted)


def test_an_immutable_change_is_named() -> None:
    claim = {"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": "1Gi"}}}}
    larger = {"metadata": {"name": "data"}, "spec": {"resources": {"requests": {"storage": "2Gi"}}}}
    live = {"spec": {"replicas": 1, "serviceName": "a", "volumeClaimTemplates": [claim]}}
    wanted = {"spec": {"replicas": 2, "serviceName": "a", "volumeClaimTemplates": [larger]}}
    assert immutable_changes(wanted, live) == ["volumeClaimTemplates"]
