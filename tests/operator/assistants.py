"""AIAssistants for tests, as small as the test allows."""

from dataclasses import replace
from typing import Any

from assistant_operator import desired
from assistant_operator.rooms.facts import Facts, PodFacts
from assistant_operator.settings import DEFAULT_IMAGES
from assistant_operator.spec.assistant import AIAssistant

IMAGES = {name: f"registry.example.com/{name}:1.0.0" for name in DEFAULT_IMAGES} | {
    "redis": "registry.example.com/redis:7.4.7"
}
FACTS = Facts(IMAGES)
PROVIDERS = {"items": [{"name": "local", "baseURL": "http://model-server:8080/v1", "model": "smollm2"}]}


def facts(found: AIAssistant, *others: dict[str, Any]) -> Facts:
    """FACTS with every pod that runs where all that is asked for runs, and the objects of other operators."""
    mongodb = found.spec.mongodb.managed
    members = 3 if mongodb and mongodb.topology == "replicaSet" else 1
    pods = {
        part: tuple(PodFacts(f"{found.name}-{part}-{n}", f"uid-of-{part}-{n}", f"10.0.0.{n + 1}") for n in range(count))
        for part, count in (("redis-cluster", 6), ("mongodb", members))
    }
    referenced = {
        component: {**body, "metadata": {"namespace": found.namespace, **body["metadata"]}}
        for component, named in desired.referenced_objects(found).items()
        for body in others
        if (body["kind"], body["metadata"]["name"]) == (named.kind.kind, named.name)
    }
    return replace(FACTS, pods=pods, referenced=referenced)


def resource(name: str = "demo", namespace: str = "default", **spec: Any) -> dict[str, Any]:
    """An AIAssistant as the API server sends it."""
    return {
        "apiVersion": "aiassistant.dev/v1alpha1",
        "kind": "AIAssistant",
        "metadata": {
            "name": name,
            "namespace": namespace,
            "uid": f"uid-of-{name}",
            "generation": 1,
            "resourceVersion": "1",
        },
        "spec": {"providers": PROVIDERS, **spec},
    }


def assistant(name: str = "demo", **spec: Any) -> AIAssistant:
    return AIAssistant.model_validate(resource(name, **spec))
