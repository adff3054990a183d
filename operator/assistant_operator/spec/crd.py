"""The CustomResourceDefinition, generated from the pydantic models of `assistant.py`.

Kubernetes wants a structural schema: no references, no `anyOf` with null, no titles. The few rewrites that turn
pydantic's JSON Schema into one are below; there is no kept library that also carries CEL rules and defaults
(docs/decisions/20261123-crd-from-pydantic.md).
"""

from typing import Any

from pydantic import BaseModel

from assistant_operator import labels
from assistant_operator.spec.assistant import NAME_RULE, AIAssistant, AIAssistantSpec
from assistant_operator.spec.base import Model
from assistant_operator.spec.status import AIAssistantStatus

_DROPPED = {"title", "additionalProperties", "default", "anyOf", "$ref", "allOf"}


def definition() -> dict[str, Any]:
    """Return the CustomResourceDefinition of AIAssistant."""
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{labels.PLURAL}.{labels.GROUP}"},
        "spec": {
            "group": labels.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": labels.KIND,
                "listKind": f"{labels.KIND}List",
                "plural": labels.PLURAL,
                "singular": labels.KIND.lower(),
                "shortNames": ["aia", "assistant"],
                "categories": ["all"],
            },
            "versions": [_version()],
        },
    }


def _version() -> dict[str, Any]:
    return {
        "name": labels.VERSION,
        "served": True,
        "storage": True,
        "schema": {"openAPIV3Schema": _object_schema()},
        "subresources": {
            "status": {},
            "scale": {
                "specReplicasPath": ".spec.replicas",
                "statusReplicasPath": ".status.replicas",
                "labelSelectorPath": ".status.selector",
            },
        },
        "additionalPrinterColumns": [
            _column("Ready", '.status.conditions[?(@.type=="Ready")].status'),
            _column("Status", ".status.phase"),
            _column("Replicas", ".status.readyReplicas", "integer"),
            _column("URL", ".status.url"),
            _column("Reason", '.status.conditions[?(@.type=="Ready")].reason', priority=1),
            _column("Message", '.status.conditions[?(@.type=="Ready")].message', priority=1),
            _column("Age", ".metadata.creationTimestamp", "date"),
        ],
    }


def _column(name: str, path: str, kind: str = "string", priority: int = 0) -> dict[str, Any]:
    column = {"name": name, "type": kind, "jsonPath": path}
    return {**column, "priority": priority} if priority else column


def _object_schema() -> dict[str, Any]:
    return {
        "type": "object",
        "description": AIAssistant.__doc__,
        "required": ["spec"],
        "properties": {
            "apiVersion": {"type": "string"},
            "kind": {"type": "string"},
            "metadata": {"type": "object"},
            "spec": _structural(AIAssistantSpec),
            # An AIAssistant that no operator has seen yet has a generation and no status, which kstatus takes for done.
            "status": {**_structural(AIAssistantStatus), "default": {"observedGeneration": -1}},
        },
        "x-kubernetes-validations": [NAME_RULE.schema()],
    }


def _structural(model: type[BaseModel]) -> dict[str, Any]:
    """Return the structural schema of a model."""
    schema = model.model_json_schema(by_alias=True)
    return _rewrite(schema, schema.get("$defs", {}), _models(model))


def _models(model: type[BaseModel]) -> dict[str, type[BaseModel]]:
    """Return every model reachable from `model`, by class name."""
    found = {model.__name__: model}
    for subclass in _all_subclasses(Model):
        found[subclass.__name__] = subclass
    return found


def _all_subclasses(model: type[Model]) -> list[type[Model]]:
    return [found for child in model.__subclasses__() for found in (child, *_all_subclasses(child))]


def _rewrite(node: dict[str, Any], refs: dict[str, Any], models: dict[str, type[BaseModel]]) -> dict[str, Any]:
    """Rewrite one JSON Schema node: inline its reference, drop null and titles, add defaults and rules."""
    resolved, model = _resolve(node, refs, models)
    schema = {key: value for key, value in resolved.items() if key not in _DROPPED and not key.startswith("$")}
    if "properties" in resolved:
        schema["properties"] = {name: _rewrite(child, refs, models) for name, child in resolved["properties"].items()}
    if "items" in resolved:
        schema["items"] = _rewrite(resolved["items"], refs, models)
    values = resolved.get("additionalProperties")
    if isinstance(values, dict) and not schema.get("x-kubernetes-preserve-unknown-fields"):
        schema["additionalProperties"] = _rewrite(values, refs, models)
    if model is not None and issubclass(model, Model) and model.rules:
        schema["x-kubernetes-validations"] = [rule.schema() for rule in model.rules]
    if node.get("description"):
        schema["description"] = node["description"]
    default = _default(node)
    if default is not None:
        schema["default"] = default
    return schema


def _resolve(
    node: dict[str, Any], refs: dict[str, Any], models: dict[str, type[BaseModel]]
) -> tuple[dict[str, Any], type[BaseModel] | None]:
    """Follow a reference or an optional's `anyOf`; return the plain node and the model it describes, if any."""
    for choice in node.get("anyOf", []):
        if choice.get("type") != "null":
            resolved, model = _resolve(choice, refs, models)
            return {**resolved, **{key: value for key, value in node.items() if key != "anyOf"}}, model
    if "$ref" in node:
        name = node["$ref"].rsplit("/", 1)[-1]
        return refs[name], models[name]
    return node, models.get(node.get("title", "")) if "properties" in node else None


def _default(node: dict[str, Any]) -> Any:
    """Return a field's default without nulls; a block's own defaults are left to the block."""
    default = node.get("default")
    return _without_empty(default) if isinstance(default, dict) else default


def _without_empty(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_empty(child) for key, child in value.items() if child not in (None, [], {})}
    return value
