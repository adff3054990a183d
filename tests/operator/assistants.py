"""AIAssistants for tests, as small as the test allows."""

from typing import Any

from assistant_operator.assistant import AIAssistant
from assistant_operator.facts import Facts
from assistant_operator.settings import DEFAULT_IMAGES

IMAGES = {name: f"registry.example.com/{name}:1.0.0" for name in DEFAULT_IMAGES} | {
    "redis": "registry.example.com/redis:7.4.7"
}
FACTS = Facts(IMAGES)
PROVIDERS = {"items": [{"name": "local", "baseURL": "http://model-server:8080/v1", "model": "smollm2"}]}


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
