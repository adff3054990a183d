"""The assistant runtime: the Deployment that serves the HTTP API, its Service, and its generated keys.

What the program reads of the resource is rendered in `environment.py`.
"""

from collections.abc import Mapping

from assistant_operator import labels, names
from assistant_operator.components import environment
from assistant_operator.rooms import manifests
from assistant_operator.rooms.binding import Bindings
from assistant_operator.rooms.component import Component, Workload
from assistant_operator.rooms.connection import ANYWHERE, Connection, to_binding, to_url
from assistant_operator.rooms.credentials import Credential, single
from assistant_operator.rooms.facts import Facts
from assistant_operator.rooms.manifests import Object, env, secret_env
from assistant_operator.rooms.probes import http, probes
from assistant_operator.rooms.reference import Reference
from assistant_operator.spec.assistant import AIAssistant
from assistant_operator.spec.base import KeyRef, SecretKeyRef

NAME = "runtime"
SERVICE_PORT = 80
PORT = 8000

_USER_ID = 10001
_DRAIN_DELAY_SECONDS = 5
"""How long a pod that is told to stop still takes new requests: the time for every proxy to see it unready."""
_SHUTDOWN_GRACE_SECONDS = 45
"""How long streams in flight may go on after that; the pod's grace period leaves time to keep what is cut then."""
_TERMINATION_GRACE_SECONDS = 60


def _name(assistant: AIAssistant) -> str:
    return names.child(assistant.name, NAME)


def _secret_key(assistant: AIAssistant) -> SecretKeyRef:
    return SecretKeyRef(name=_name(assistant), key="secret-key")


def _previous_secret_key(assistant: AIAssistant) -> SecretKeyRef:
    """Return where a person puts the former key who changes it; the operator makes none."""
    return SecretKeyRef(name=_name(assistant), key="secret-key-previous")


def _api_keys(assistant: AIAssistant) -> SecretKeyRef:
    given = assistant.spec.security.api_keys_from
    return given or SecretKeyRef(name=names.child(assistant.name, "api-keys"), key="api-key")


def _credentials(assistant: AIAssistant) -> list[Credential]:
    credentials = [Credential(_name(assistant), NAME, single("secret-key"))]
    if assistant.spec.security.api_keys_from is None:
        credentials.append(Credential(_api_keys(assistant).name, NAME, single("api-key")))
    return credentials


def _references(assistant: AIAssistant) -> list[Reference]:
    spec = assistant.spec
    named: dict[str, KeyRef | None] = {
        f"spec.providers.items[{index}].{field}": key
        for index, provider in enumerate(assistant.providers.items)
        for field, key in (("apiKeyFrom", provider.api_key_from), ("caFrom", provider.ca_from))
    }
    named |= {
        f"spec.tools.mcpServers[{index}].{field}": key
        for index, server in enumerate(spec.tools.mcp_servers)
        for field, key in (("tokenFrom", server.token_from), ("caFrom", server.ca_from))
    }
    named |= {
        "spec.security.apiKeysFrom": spec.security.api_keys_from,
        "spec.security.oidc.caFrom": spec.security.oidc.ca_from if spec.security.oidc else None,
        "spec.tracing.headersFrom": spec.tracing.headers_from,
        "spec.tracing.caFrom": spec.tracing.ca_from,
    }
    return [Reference(field, key) for field, key in named.items() if key]


def _objects(assistant: AIAssistant, facts: Facts, bindings: Bindings) -> list[Object]:
    service = manifests.service(assistant.name, assistant, NAME, SERVICE_PORT, "http")
    service["spec"]["ports"][0]["appProtocol"] = "http"
    objects = [
        manifests.service_account(_name(assistant), assistant, NAME),
        service,
        _deployment(assistant, facts, bindings),
    ]
    if data := _agents_files(assistant):
        objects.append(manifests.config_map(_name(assistant), assistant, NAME, data))
    return objects


def _deployment(assistant: AIAssistant, facts: Facts, bindings: Bindings) -> Object:
    variables = _variables(assistant, bindings)
    secrets = manifests.secrets_of(variables)
    authorities = environment.authorities(assistant, bindings)
    volumes = _volumes(assistant, authorities)
    selector = labels.selector(assistant.name, NAME)
    template = manifests.pod_template(
        assistant,
        NAME,
        user_id=_USER_ID,
        containers=[_container(assistant, facts, variables, volumes)],
        volumes=list(volumes.values()),
        image=assistant.spec.image,
        config_hash=facts.config_hash([*secrets, *authorities.values()], *_agents_files(assistant).values()),
        overlay=assistant.spec.pod_template,
        serviceAccountName=_name(assistant),
        terminationGracePeriodSeconds=_TERMINATION_GRACE_SECONDS,
        topologySpreadConstraints=manifests.spread(selector),
    )
    spec = {
        "replicas": 0 if assistant.spec.suspend else assistant.spec.replicas,
        "selector": {"matchLabels": selector},
        # A new pod serves before an old one goes, so that an update never has less capacity than asked for.
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxSurge": 1, "maxUnavailable": 0}},
        "template": template,
    }
    return manifests.new_object("apps/v1", "Deployment", _name(assistant), assistant, NAME, spec=spec)


def _agents_files(assistant: AIAssistant) -> dict[str, str]:
    """Return the data of the ConfigMap with the agents, empty where there are none."""
    return {environment.AGENTS_FILE: environment.agents(assistant)} if assistant.spec.agents else {}


def _volumes(assistant: AIAssistant, authorities: Mapping[str, KeyRef]) -> dict[str, Object]:
    """Build the pod's volumes, by where they are mounted."""
    found: dict[str, Object] = {manifests.SCRATCH: manifests.scratch("64Mi")}
    if authorities:
        found[environment.CERTIFICATES] = manifests.certificates(
            {f"{name}.crt": ca for name, ca in authorities.items()}
        )
    if assistant.spec.agents:
        found[environment.AGENTS] = {"name": "agents", "configMap": {"name": _name(assistant)}}
    return found


def _container(assistant: AIAssistant, facts: Facts, variables: list[Object], volumes: Mapping[str, Object]) -> Object:
    spec = assistant.spec
    return manifests.container(
        "runtime",
        spec.image.reference(facts.images[NAME]),
        spec.image,
        spec.resources,
        ports=[{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
        env=variables,
        volumeMounts=manifests.mounts(volumes),
        **probes(alive=http("/health", "http"), ready=http("/ready", "http"), start_period=1),
    )


def _variables(assistant: AIAssistant, bindings: Bindings) -> list[Object]:
    return [
        env("HOST", "*"),
        env("PORT", PORT),
        secret_env("SECRET_KEY", _secret_key(assistant)),
        secret_env("SECRET_KEY_PREVIOUS", _previous_secret_key(assistant), optional=True),
        secret_env("API_KEYS", _api_keys(assistant)),
        env("DRAIN_DELAY_SECONDS", _DRAIN_DELAY_SECONDS),
        env("SHUTDOWN_GRACE_SECONDS", _SHUTDOWN_GRACE_SECONDS),
        *environment.variables(assistant, bindings),
    ]


def _connections(assistant: AIAssistant, bindings: Bindings) -> list[Connection]:
    found = [way for bound in environment.servers(bindings) for way in to_binding(NAME, bound)]
    found += [way for url in environment.urls(assistant) for way in to_url(NAME, url)]
    return [*found, Connection(NAME, host=ANYWHERE)] if assistant.spec.tools.fetch_pages else found


COMPONENT = Component(
    name=NAME,
    condition="RuntimeReady",
    workloads=lambda assistant: [Workload("Deployment", _name(assistant), NAME)],
    objects=_objects,
    connections=_connections,
    credentials=_credentials,
    references=_references,
)
