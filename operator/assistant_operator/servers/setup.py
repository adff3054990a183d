"""Jobs that make one of several servers: they form a cluster of them, and mend it when a server has come back."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from assistant_operator import names
from assistant_operator.rooms import manifests
from assistant_operator.rooms.facts import Facts, PodFacts
from assistant_operator.rooms.manifests import Object
from assistant_operator.servers.base import Server
from assistant_operator.spec.base import Resources

_RESOURCES = Resources(requests={"cpu": "50m", "memory": "64Mi"}, limits={"cpu": "500m", "memory": "256Mi"})
"""A command-line client and a shell."""
_SCHEDULING = ("nodeSelector", "tolerations", "affinity", "priorityClassName")
"""What a Job takes from the overlay of its servers' pods; a sidecar would keep it from ever ending."""
_ATTEMPTS = 1000
"""A Job does not give up: what can't be reached today may be there tomorrow. The pauses grow to some minutes."""


def job(
    server: Server,
    facts: Facts,
    pods: Sequence[PodFacts],
    *,
    user_id: int,
    command: list[str],
    env: list[Object],
    volumes: list[Object],
    mounts: list[Object],
    reads: str,
) -> Object:
    """Build the Job that works on just these pods; `reads` is a hash of what it reads at its start.

    A Job's template never changes, and one that is done stays as it is: so its name derives from the pods and from
    all that it does. Another set of pods, another image or another script makes another Job, and the old one is pruned.
    """
    component = f"{server.component}-setup"
    settings = server.settings
    image = settings.image.reference(facts.images[server.image])
    container = manifests.container(
        "setup", image, settings.image, _RESOURCES, command=command, env=env, volumeMounts=mounts
    )
    template = manifests.pod_template(
        server.assistant,
        component,
        user_id=user_id,
        containers=[container],
        volumes=volumes,
        image=settings.image,
        config_hash=_digest([reads, *([pod.uid, pod.ip] for pod in pods)]),
        overlay=_scheduling(settings.pod_template),
        restartPolicy="OnFailure",
        # Nothing is lost when it is ended between two steps.
        terminationGracePeriodSeconds=1,
    )
    spec = {"backoffLimit": _ATTEMPTS, "template": template}
    name = names.child(server.assistant.name, component, _digest(manifests.prune_none(spec)))
    return manifests.new_object("batch/v1", "Job", name, server.assistant, component, spec=spec)


def pods_of(server: Server, facts: Facts, count: int) -> tuple[PodFacts, ...]:
    """Return the server's pods once all of them have an address, none before."""
    pods = facts.pods.get(server.component, ())
    return pods if len(pods) == count and not server.assistant.spec.suspend else ()


def _scheduling(overlay: Mapping[str, Any]) -> Object:
    spec = overlay.get("spec") or {}
    return {"spec": {field: spec[field] for field in _SCHEDULING if field in spec}}


def _digest(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:10]
