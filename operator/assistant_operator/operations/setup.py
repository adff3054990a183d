"""Jobs that make one of several servers: they form a cluster of them, and mend it when a server has come back."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from assistant_operator import names
from assistant_operator.rooms import manifests
from assistant_operator.rooms.component import Component
from assistant_operator.rooms.facts import Facts
from assistant_operator.rooms.manifests import Object
from assistant_operator.rooms.operation import Operation
from assistant_operator.rooms.setup import Setup
from assistant_operator.spec.assistant import AIAssistant

NAME = "setup"

_OF_SERVERS_ALONE = (
    "containers",
    "initContainers",
    "volumes",
    "restartPolicy",
    "terminationGracePeriodSeconds",
    "activeDeadlineSeconds",
    "topologySpreadConstraints",
    "hostname",
    "subdomain",
)
"""What a Job does not take from the overlay of its servers' pods: a sidecar would keep it from ever ending."""
_OF_CONTAINER = ("securityContext", "resources")
"""What its container takes from the overlay of the servers' own."""
_ATTEMPTS = 1000
"""A Job does not give up: what can't be reached today may be there tomorrow. The pauses grow to some minutes."""


def _objects(component: Component, assistant: AIAssistant, facts: Facts) -> list[Object]:
    return [_job(setup, assistant, facts) for setup in component.setups(assistant, facts)]


def _job(setup: Setup, assistant: AIAssistant, facts: Facts) -> Object:
    """Build the Job that works on just these pods.

    A Job's template never changes, and one that is done stays as it is: so its name derives from the pods and from
    all that it does. Another set of pods, another image or another script makes another Job, and the old one is pruned.
    """
    component, settings = f"{setup.component}-{NAME}", setup.settings
    image = settings.image.reference(facts.images[setup.image])
    container = manifests.container(
        NAME,
        image,
        settings.image,
        # What a policy of the namespace takes for the servers, it takes for the Job.
        settings.resources,
        command=list(setup.command),
        env=list(setup.env),
        volumeMounts=list(setup.mounts),
    )
    template = manifests.pod_template(
        assistant,
        component,
        user_id=setup.user_id,
        containers=[container],
        volumes=list(setup.volumes),
        image=settings.image,
        config_hash=_digest([setup.reads, *([pod.uid, pod.ip] for pod in setup.pods)]),
        overlay=_overlay(settings.pod_template, setup.image),
        restartPolicy="OnFailure",
        # Nothing is lost when it is ended between two steps.
        terminationGracePeriodSeconds=1,
    )
    spec = {"backoffLimit": _ATTEMPTS, "template": template}
    name = names.child(assistant.name, component, _digest(manifests.prune_none(spec)))
    return manifests.new_object("batch/v1", "Job", name, assistant, component, spec=spec)


def _overlay(overlay: Mapping[str, Any], server: str) -> Object:
    """Return the part of the servers' overlay that holds for any pod: labels, annotations, scheduling, security."""
    spec = overlay.get("spec") or {}
    if not isinstance(spec, dict):
        return dict(overlay)  # malformed, which the API server says best
    kept = {field: value for field, value in spec.items() if field not in _OF_SERVERS_ALONE}
    entries = spec.get("containers") if isinstance(spec.get("containers"), list) else []
    for entry in entries or []:
        if isinstance(entry, dict) and entry.get("name") == server:
            taken = {field: entry[field] for field in _OF_CONTAINER if field in entry}
            kept["containers"] = [{"name": NAME, **taken}]
    return {**overlay, "spec": kept}


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:10]


OPERATION = Operation(name=NAME, objects=_objects)
