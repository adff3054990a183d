"""What one tenant may do to all others: nothing."""

from typing import Any

import pytest

from tests.operator.assistants import resource
from tests.support.kube import Kube, eventually

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("operator")]


def _create(kube: Kube, name: str, **spec: Any) -> None:
    kube.api.create({**resource(name, **spec), "metadata": {"name": name}}, kube.namespace)


@pytest.mark.parametrize("levels", [260, 800])
def test_an_overlay_that_nests_too_deep_stalls_its_own_assistant_and_no_other(kube: Kube, levels: int) -> None:
    overlay: dict[str, Any] = {}
    for _ in range(levels):
        overlay = {"a": overlay}
    _create(kube, "deep", podTemplate=overlay)
    _create(kube, "well")
    told = kube.wait_for_reason("deep", "InvalidSpec")
    assert told["message"].startswith("spec.podTemplate: nests deeper than 32 levels")
    eventually(lambda: kube.get("deployment", "well-runtime"), "the other is deployed")
    kube.api.delete("aia", "deep", kube.namespace)
