"""What every server with a volume has: an instance to name it by, and its StatefulSet."""

from dataclasses import dataclass
from typing import Any

from assistant_operator import labels, names
from assistant_operator.rooms import manifests
from assistant_operator.rooms.facts import Facts
from assistant_operator.rooms.manifests import Object
from assistant_operator.rooms.setup import Setup
from assistant_operator.spec.assistant import AIAssistant
from assistant_operator.spec.base import ManagedServer


@dataclass(frozen=True)
class Server:
    """One server of an assistant's stack."""

    assistant: AIAssistant
    component: str
    """Label value and suffix of object names: redis, or firecrawl-redis for the one that is Firecrawl's own."""
    settings: ManagedServer
    """What the spec says of it."""
    image: str
    """Name of the default image, for where the spec names none."""

    @property
    def name(self) -> str:
        """Name of its objects: its Service is reached by it."""
        return names.child(self.assistant.name, self.component)

    @property
    def selector(self) -> dict[str, str]:
        """Labels that pick its pods."""
        return labels.selector(self.assistant.name, self.component)


def pod_template(
    server: Server, *, user_id: int, containers: list[Object], volumes: list[Object], config_hash: str, **spec: Any
) -> Object:
    """Build the template of a server's pods; `spec` is what else `manifests.pod_template` takes."""
    return manifests.pod_template(
        server.assistant,
        server.component,
        user_id=user_id,
        containers=containers,
        volumes=volumes,
        image=server.settings.image,
        config_hash=config_hash,
        overlay=server.settings.pod_template,
        **spec,
    )


def container(server: Server, facts: Facts, name: str, **body: Any) -> Object:
    """Build a server's container, with the image and the resources that the spec gives it."""
    settings = server.settings
    image = settings.image.reference(facts.images[server.image])
    return manifests.container(name, image, settings.image, settings.resources, **body)


def stateful_set(
    server: Server, template: Object, *, replicas: int = 1, suffix: str = "", service: str | None = None, **spec: Any
) -> Object:
    """Build the StatefulSet of a server, each pod with a volume called `data`.

    Volumes stay when the server is turned off or runs in another way. `suffix` tells several shapes of one server
    apart, so that each keeps its own volumes; `service` is the headless Service that names the pods, if there is one.
    """
    assistant, name = server.assistant, names.child(server.assistant.name, server.component + suffix)
    return manifests.new_object(
        "apps/v1",
        "StatefulSet",
        name,
        assistant,
        server.component,
        spec={
            "replicas": 0 if assistant.spec.suspend else replicas,
            "serviceName": service or server.name,
            "selector": {"matchLabels": server.selector},
            "template": template,
            "volumeClaimTemplates": [
                manifests.volume_claim("data", assistant, server.component, server.settings.storage)
            ],
            **spec,
        },
    )


def mounted_keys(name: str, secret: str, *keys: str) -> Object:
    """Build a volume with the named keys of a Secret, each a file of its name."""
    return {"name": name, "secret": {"secretName": secret, "items": [{"key": key, "path": key} for key in keys]}}


def headless_service(name: str, server: Server, port: int, target: str) -> Object:
    """Build a Service that gives each pod a name, also before it is ready: servers find each other by it."""
    service = manifests.service(name, server.assistant, server.component, port, target)
    service["spec"] |= {"clusterIP": "None", "publishNotReadyAddresses": True}
    return service


def setup(server: Server, facts: Facts, count: int, **work: Any) -> list[Setup]:
    """Return what is done once all of the server's pods have an address, nothing before; `work` is the rest of it."""
    pods = facts.pods.get(server.component, ())
    if len(pods) != count or server.assistant.spec.suspend:
        return []
    return [Setup(server.component, server.settings, server.image, pods, **work)]
