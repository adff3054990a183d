"""Every image that the spec may name has a default, but for the reranker's, and is held to a version in production."""

from collections.abc import Iterator

from assistant_operator import desired
from assistant_operator.rooms.manifests import Object
from assistant_operator.settings import DEFAULT_IMAGES
from assistant_operator.spec.assistant import AIAssistant
from assistant_operator.spec.crd import definition
from assistant_operator.spec.images import IMAGES
from tests.operator.assistants import IMAGES as GIVEN
from tests.operator.assistants import assistant, facts
from tests.operator.strategies import RERANKER

BACKENDS = ("redis", "mongodb", "postgresql", "milvus", "searxng", "firecrawl", "ui")
CLUSTERED: Object = {"redis": {"managed": {"topology": "cluster"}}, "mongodb": {"managed": {"topology": "replicaSet"}}}


def _fields(schema: Object, path: str = "") -> Iterator[str]:
    """Every field that names an image, as a path."""
    for name, child in schema.get("properties", {}).items():
        if {"repository", "digest"} <= set(child.get("properties", {})):
            yield f"{path}{name}"
        else:
            yield from _fields(child, f"{path}{name}.")


def _everything(**spec: Object) -> AIAssistant:
    """An assistant with every backend managed, which names no image but the reranker's."""
    on: Object = {name: {"enabled": True, **spec.get(name, {})} for name in BACKENDS}
    return assistant(**on, reranker={"enabled": True, "managed": {"image": RERANKER}})


def _rendered(found: AIAssistant) -> set[str]:
    templates = [body["spec"]["template"] for body in desired.desired(found, facts(found)).objects if _has_pods(body)]
    return {container["image"] for template in templates for container in template["spec"]["containers"]}


def _has_pods(body: Object) -> bool:
    return body["kind"] in ("Deployment", "StatefulSet", "Job")


def test_the_rule_for_production_knows_every_image() -> None:
    schema = definition()["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"]
    assert set(_fields(schema)) == set(IMAGES)


def test_whatever_names_no_image_has_a_default() -> None:
    rendered = _rendered(_everything()) | _rendered(_everything(**CLUSTERED))
    given = f"{RERANKER['repository']}:{RERANKER['tag']}"
    assert rendered - {given} == {GIVEN[name] for name in DEFAULT_IMAGES}
