"""What one tenant may do to all others: nothing."""

import json

import pytest

from tests.operator.assistants import resource
from tests.support.kube import Kube, eventually

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("operator")]

STALLED = "jsonpath={.status.conditions[?(@.type=='Stalled')].message}"


def _nested(levels: int) -> str:
    """Return an AIAssistant whose overlay nests so deep, as text: Python writes no such object."""
    body = {**resource("deep", podTemplate={"a": "HERE"}), "metadata": {"name": "deep"}}
    return json.dumps(body).replace('"HERE"', '{"a":' * levels + "1" + "}" * levels)


@pytest.mark.parametrize("levels", [260, 1200, 5000])
def test_an_overlay_that_nests_too_deep_stalls_its_own_assistant_and_no_other(kube: Kube, levels: int) -> None:
    kube.run("create", "-f", "-", stdin=_nested(levels))
    kube.api.create({**resource("well"), "metadata": {"name": "well"}}, kube.namespace)
    told = eventually(lambda: kube.run("get", "aia", "deep", "-o", STALLED), "the status says what is wrong")
    assert told.startswith("spec.podTemplate: nests deeper than 32 levels")
    eventually(lambda: kube.get("deployment", "well-runtime"), "the other is deployed")
    kube.api.delete("aia", "deep", kube.namespace)


def test_a_large_object_with_the_operators_label_disturbs_nobody(kube: Kube) -> None:
    labels = {"app.kubernetes.io/managed-by": "assistant-operator", "app.kubernetes.io/instance": "well"}
    for number in range(3):
        head = {"name": f"large-{number}", "labels": labels}
        # The API server writes each of these characters as six.
        large = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": head, "data": {"file": "<" * 1_000_000}}
        kube.api.create(large, kube.namespace)
    kube.api.create({**resource("well"), "metadata": {"name": "well"}}, kube.namespace)
    eventually(lambda: kube.get("deployment", "well-runtime"), "the assistant is deployed")
    kube.run("delete", "configmap", "well-redis")
    eventually(lambda: kube.get("configmap", "well-redis"), "what is deleted after that is made again")
    assert kube.get("configmap", "large-0"), "and what is not the assistant's is left alone"
