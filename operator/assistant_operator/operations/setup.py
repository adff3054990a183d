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
from assistant_operator.spec.base import Resources

NAME = "setup"

_RESOURCES = Resources(requests={"cpu": "50m", "memory": "64Mi"}, limits={"cpu": "500m", "memory": "256Mi"})
"""A command-line client and a shell."""
_SCHEDULING = ("nodeSelector", "tolerations", "affinity", "priorityClassName")
"""What a Job takes from the overlay of its servers' pods; a sidecar would keep it from ever ending."""
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
        _RESOURCES,
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
        overlay=_scheduling(settings.pod_template),
        restartPolicy="OnFailure",
        # Nothing is lost when it is ended between two steps.
        terminationGracePeriodSeconds=1,
    )
    spec = {"backoffLimit": _ATTEMPTS, "template": template}
    name = names.child(assistant.name, component, _digest(manifests.prune_none(spec)))
    return manifests.new_object("batch/v1", "Job", name, assistant, component, spec=spec)


def _scheduling(overlay: Mapping[str, Any]) -> Object:
    spec = overlay.get("spec") or {}
    return {"spec": {field: spec[field] for field in _SCHEDULING if field in spec}}


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:10]


OPERATION = Operation(name=NAME, objects=_objects)
