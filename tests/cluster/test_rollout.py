"""A mistake in the spec of a server is mended by mending the spec, without a hand on its pods."""

import pytest

from tests.cluster.test_reconcile import create
from tests.support.kube import Kube, eventually

pytestmark = [pytest.mark.cluster, pytest.mark.usefixtures("operator")]


def _image(kube: Kube) -> str:
    pod = kube.get("pod", "demo-redis-0") or {"spec": {"containers": [{"image": ""}]}}
    return str(pod["spec"]["containers"][0]["image"]).rpartition(":")[2]


def _runs(kube: Kube, tag: str) -> None:
    create(kube, redis={"managed": {"image": {"tag": tag}}})
    eventually(lambda: _image(kube) == tag, f"the pod has the image {tag}", last=lambda: _image(kube))


def test_a_pod_that_never_became_ready_gets_the_mended_image(kube: Kube) -> None:
    _runs(kube, "mistaken")
    _runs(kube, "mended")
