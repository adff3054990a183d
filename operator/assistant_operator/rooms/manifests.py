"""Small constructors of Kubernetes objects, as plain dictionaries.

Objects are sparse: a field that is not set is absent, because server-side apply owns every field that it is given.
In the parts of an object a field that is not set may be None: `new_object` leaves all of those out.
"""

from collections.abc import Iterable, Mapping
from typing import Any, TypeVar

import yaml

from assistant_operator import labels
from assistant_operator.spec.assistant import AIAssistant
from assistant_operator.spec.base import Image, KeyRef, Resources, SecretKeyRef, Storage

Object = dict[str, Any]
_Json = TypeVar("_Json")

SCRATCH = "/tmp"  # noqa: S108 - a mount path in the pod
SHARED_MEMORY = "/dev/shm"  # noqa: S108 - a mount path in the pod

_DUMPER: Any = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
"""libyaml's, where PyYAML has it: it takes a tenth of the time."""

_MERGE_KEYS = {
    "containers": "name",
    "initContainers": "name",
    "env": "name",
    "volumes": "name",
    "imagePullSecrets": "name",
    "ports": "containerPort",
    "volumeMounts": "mountPath",
    "volumeDevices": "devicePath",
    "hostAliases": "ip",
    "topologySpreadConstraints": "topologyKey",
}
"""The key by which Kubernetes tells a list's entries apart when it merges a pod template; other lists are replaced.

Source: `patchMergeKey` in https://github.com/kubernetes/api/blob/master/core/v1/types.go
"""


def prune_none(value: _Json) -> _Json:
    """Drop None from dictionaries, at every depth."""
    if isinstance(value, dict):
        return {key: prune_none(child) for key, child in value.items() if child is not None}  # type: ignore[return-value]  # same shape
    if isinstance(value, list):
        return [prune_none(child) for child in value]  # type: ignore[return-value]  # same shape
    return value


def new_object(api_version: str, kind: str, name: str, assistant: AIAssistant, component: str, **body: Any) -> Object:
    """Build an object of the assistant with its standard labels; None values in `body` are left out."""
    metadata: Object = {
        "name": name,
        "namespace": assistant.namespace,
        "labels": {**assistant.spec.common_labels, **labels.standard(assistant.name, component)},
    }
    if assistant.spec.common_annotations:
        metadata["annotations"] = dict(assistant.spec.common_annotations)
    return {"apiVersion": api_version, "kind": kind, "metadata": metadata, **prune_none(body)}


def owner_reference(assistant: AIAssistant) -> Object:
    """Return the reference that lets the garbage collector delete what the assistant leaves behind."""
    return {
        "apiVersion": labels.API_VERSION,
        "kind": labels.KIND,
        "name": assistant.name,
        "uid": assistant.metadata.uid,
        "controller": True,
        "blockOwnerDeletion": True,
    }


def service(name: str, assistant: AIAssistant, component: str, port: int, target: str) -> Object:
    """Build a ClusterIP Service in front of a component's pods; `target` is a container port's name."""
    ports = [{"name": target, "port": port, "targetPort": target, "protocol": "TCP"}]
    spec = {"type": "ClusterIP", "selector": labels.selector(assistant.name, component), "ports": ports}
    return new_object("v1", "Service", name, assistant, component, spec=spec)


def service_account(name: str, assistant: AIAssistant, component: str) -> Object:
    """Build a ServiceAccount without rights and without a mounted token."""
    return new_object("v1", "ServiceAccount", name, assistant, component, automountServiceAccountToken=False)


def config_map(name: str, assistant: AIAssistant, component: str, data: Mapping[str, str]) -> Object:
    """Build a ConfigMap."""
    return new_object("v1", "ConfigMap", name, assistant, component, data=dict(data))


def volume_claim(name: str, assistant: AIAssistant, component: str, storage: Storage) -> Object:
    """Build an entry of a StatefulSet's volumeClaimTemplates."""
    spec = {
        "accessModes": ["ReadWriteOnce"],
        "resources": {"requests": {"storage": storage.size}},
        "storageClassName": storage.storage_class_name,
    }
    metadata = {"name": name, "labels": labels.template(assistant.name, component), "annotations": labels.KEPT}
    return {"metadata": metadata, "spec": spec}


def env(name: str, value: str | float | bool) -> Object:
    """Build an environment variable; booleans are written as `true` and `false`.

    `$(NAME)` is escaped, so that the kubelet puts no other variable's value in its place.
    """
    text = str(value).lower() if isinstance(value, bool) else str(value)
    return {"name": name, "value": text.replace("$(", "$$(")}


def _projection(named: KeyRef, path: str) -> Object:
    """Build the source of a projected volume: one key of a Secret or ConfigMap, as a file."""
    field = "configMap" if named.source == "ConfigMap" else "secret"
    return {field: {"name": named.name, "items": [{"key": named.key, "path": path}]}}


def scratch(size: str, name: str = "tmp", *, medium: str | None = None) -> Object:
    """Build a volume that ends with its pod, of `size` at most; its medium is a disk of the node, or `Memory`."""
    return {"name": name, "emptyDir": {"medium": medium, "sizeLimit": size}}


def certificates(files: Mapping[str, KeyRef]) -> Object:
    """Build the volume with certificates to trust, given by their files' names."""
    sources = [_projection(named, path) for path, named in files.items()]
    return {"name": "certificates", "projected": {"sources": sources}}


def mounts(volumes: Mapping[str, Object]) -> list[Object]:
    """Build a container's mounts of volumes, given by their paths; what is not its own scratch is only read."""
    return [
        {"name": volume["name"], "mountPath": path, "readOnly": None if "emptyDir" in volume else True}
        for path, volume in volumes.items()
    ]


def yaml_text(value: Mapping[str, Any]) -> str:
    """Return the text of a server's configuration file, its keys in the order given."""
    text: str = yaml.dump(value, Dumper=_DUMPER, sort_keys=False, allow_unicode=True)
    return text


def pod_ip(name: str) -> Object:
    """Build an environment variable with the pod's own address: IPv6 in a cluster of IPv6 alone.

    It is for servers that listen on one address: `::`, which stands for all of them, fails on a node without IPv6.
    """
    return {"name": name, "valueFrom": {"fieldRef": {"fieldPath": "status.podIP"}}}


def secrets_of(variables: Iterable[Object]) -> list[SecretKeyRef]:
    """Return the keys of Secrets that environment variables are read from."""
    sources = [variable.get("valueFrom", {}).get("secretKeyRef") for variable in variables]
    return [SecretKeyRef(name=source["name"], key=source["key"]) for source in sources if source]


def secret_env(name: str, reference: SecretKeyRef, *, optional: bool = False) -> Object:
    """Build an environment variable that is read from a Secret; an optional one is not set where the key is missing."""
    read: Object = {"name": reference.name, "key": reference.key}
    return {"name": name, "valueFrom": {"secretKeyRef": read | ({"optional": True} if optional else {})}}


def container(name: str, image: str, spec: Image, resources: Resources, **body: Any) -> Object:
    """Build a container that meets the restricted Pod Security Standard."""
    return {
        "name": name,
        "image": image,
        "imagePullPolicy": spec.pull_policy,
        "resources": resources.model_dump(by_alias=True, exclude_none=True),
        # The last lines of a crash's output come with the pod's status, so that the AIAssistant's can tell them.
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
        **body,
    }


def pod_template(
    assistant: AIAssistant,
    component: str,
    *,
    user_id: int,
    group_id: int | None = None,
    containers: list[Object],
    volumes: list[Object],
    image: Image,
    config_hash: str,
    overlay: Mapping[str, Any],
    **spec: Any,
) -> Object:
    """Build a pod template that meets the restricted Pod Security Standard, with the user's overlay merged in.

    `user_id` is the numeric user, group and volume group of every container; `group_id` is another group, where the
    image needs it.
    """
    pull_secrets = [{"name": name} for name in image.pull_secrets]
    template = {
        "metadata": {
            "labels": {**assistant.spec.common_labels, **labels.template(assistant.name, component)},
            "annotations": {**assistant.spec.common_annotations, labels.CONFIG_HASH: config_hash},
        },
        "spec": {
            "automountServiceAccountToken": False,
            "enableServiceLinks": False,
            "imagePullSecrets": pull_secrets or None,
            "securityContext": {
                "runAsNonRoot": True,
                "runAsUser": user_id,
                "runAsGroup": user_id if group_id is None else group_id,
                "fsGroup": user_id,
                "fsGroupChangePolicy": "OnRootMismatch",
                "seccompProfile": {"type": "RuntimeDefault"},
            },
            **spec,
            "containers": containers,
            "volumes": volumes,
        },
    }
    merged: Object = merge(template, overlay)
    return merged


def spread(selector: Mapping[str, str]) -> list[Object]:
    """Build the constraints that spread a workload's pods over the nodes, as far as there are nodes."""
    return [
        {
            "maxSkew": 1,
            "topologyKey": "kubernetes.io/hostname",
            "whenUnsatisfiable": "ScheduleAnyway",
            "labelSelector": {"matchLabels": dict(selector)},
        }
    ]


def merge(base: Any, overlay: Any, field: str = "") -> Any:
    """Merge an overlay into a pod template as Kubernetes' strategic merge does.

    Dictionaries merge key by key, lists that have a merge key (`containers` by name, `ports` by containerPort, and so
    on) entry by entry; other values are replaced, and null removes. `field` is the name of the field being merged.
    """
    if isinstance(base, dict) and isinstance(overlay, Mapping):
        merged = dict(base)
        for key, value in overlay.items():
            if value is None:
                merged.pop(key, None)
            else:
                merged[key] = merge(merged[key], value, key) if key in merged else value
        return merged
    key = _MERGE_KEYS.get(field)
    if key and isinstance(base, list) and isinstance(overlay, list) and _have(overlay, key):
        return _merge_entries(base, overlay, key)
    return overlay


def _have(entries: list[Any], key: str) -> bool:
    """Tell whether every entry has the key. What is malformed is passed on: the API server says best what is wrong."""
    return all(isinstance(entry, dict) and isinstance(entry.get(key), str | int) for entry in entries)


def _merge_entries(base: list[Object], overlay: list[Object], key: str) -> list[Object]:
    merged = {entry.get(key): entry for entry in base}
    for entry in overlay:
        name = entry.get(key)
        merged[name] = merge(merged[name], entry) if name in merged else entry
    return list(merged.values())
