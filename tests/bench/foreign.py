"""Objects of others, beside which the operator works: it shall not pay for them."""

from collections.abc import Iterator
from typing import Any

from assistant_operator.kinds import APPLIED, POD, SECRET, Kind

LABELS = {"app.kubernetes.io/name": "foreign", "app.kubernetes.io/instance": "foreign"}
CONTAINERS = [{"name": "app", "image": "registry.example.com/app:1", "env": [{"name": "A", "value": "b" * 500}]}]


def objects(namespace: str, count: int) -> Iterator[tuple[Kind, dict[str, Any]]]:
    """Give so many Deployments, Secrets and Pods, with what such objects have inside."""
    for number in range(count):
        head = {"name": f"foreign-{number}", "namespace": namespace, "labels": LABELS}
        template = {"metadata": {"labels": LABELS}, "spec": {"containers": CONTAINERS}}
        spec = {"replicas": 0, "selector": {"matchLabels": LABELS}, "template": template}
        yield APPLIED["Deployment"], {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": head, "spec": spec}
        yield SECRET, {"apiVersion": "v1", "kind": "Secret", "metadata": head, "stringData": {"key": "x" * 1000}}
        yield POD, {"apiVersion": "v1", "kind": "Pod", "metadata": head, "spec": {"containers": CONTAINERS}}
