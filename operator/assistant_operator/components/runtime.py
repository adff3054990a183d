"""The assistant runtime: the Deployment that serves the HTTP API, its Service, and its generated keys.

The seam to the runtime is the environment rendered here: `tests/contract` compares its names with the variables that
the runtime's settings declare.
"""

import json
from collections.abc import Mapping

from assistant_operator import labels, manifests, names
from assistant_operator.assistant import AIAssistant, Provider
from assistant_operator.binding import Binding, Bindings
from assistant_operator.components.base import Component, Reference, Workload
from assistant_operator.credentials import Credential, single
from assistant_operator.facts import Facts
from assistant_operator.manifests import Object, env, secret_env
from assistant_operator.spec.base import SecretKeyRef
from assistant_operator.spec.multi_writer import MultiWriter
from assistant_operator.spec.security import Security
from assistant_operator.spec.tools import Agent, McpServer, Tools
from assistant_operator.values import seconds

NAME = "runtime"
SERVICE_PORT = 80
PORT = 8000

_USER_ID = 10001
_VARIABLES = {
    "redis": "REDIS",
    "mongodb": "MONGODB",
    "milvus": "MILVUS",
    "postgresql": "DATABASE",
    "searxng": "SEARXNG",
    "firecrawl": "FIRECRAWL",
    "reranker": "JINA_RERANKER",
}
"""How the names of the variables begin that tell of a component's server; the deployment guide's names."""
_TOOLS = ("searxng", "firecrawl", "reranker")
"""Components behind a tool, which is offered where the component is on."""
_CERTIFICATES = "/etc/assistant-runtime/certificates"
_DRAIN_DELAY_SECONDS = 5
"""How long a pod that is told to stop still takes new requests: the time for every proxy to see it unready."""
_SHUTDOWN_GRACE_SECONDS = 50
"""How long streams in flight may go on after that; the pod's grace period leaves a margin to exit."""
_TERMINATION_GRACE_SECONDS = 60


def _name(assistant: AIAssistant) -> str:
    return names.child(assistant.name, NAME)


def _secret_key(assistant: AIAssistant) -> SecretKeyRef:
    return SecretKeyRef(name=_name(assistant), key="secret-key")


def _api_keys(assistant: AIAssistant) -> SecretKeyRef:
    given = assistant.spec.security.api_keys_from
    return given or SecretKeyRef(name=names.child(assistant.name, "api-keys"), key="api-key")


def _credentials(assistant: AIAssistant) -> list[Credential]:
    credentials = [Credential(_name(assistant), NAME, single("secret-key"))]
    if assistant.spec.security.api_keys_from is None:
        credentials.append(Credential(_api_keys(assistant).name, NAME, single("api-key")))
    return credentials


def _references(assistant: AIAssistant) -> list[Reference]:
    references = [
        Reference(f"spec.providers.items[{index}].apiKeyFrom", provider.api_key_from)
        for index, provider in enumerate(assistant.providers.items)
        if provider.api_key_from
    ]
    references += [
        Reference(f"spec.tools.mcpServers[{index}].tokenFrom", server.token_from)
        for index, server in enumerate(assistant.spec.tools.mcp_servers)
        if server.token_from
    ]
    if assistant.spec.security.api_keys_from:
        references.append(Reference("spec.security.apiKeysFrom", assistant.spec.security.api_keys_from))
    oidc = assistant.spec.security.oidc
    if oidc and oidc.ca_from:
        references.append(Reference("spec.security.oidc.caFrom", oidc.ca_from))
    return references


def _objects(assistant: AIAssistant, facts: Facts, bindings: Bindings) -> list[Object]:
    service = manifests.service(assistant.name, assistant, NAME, SERVICE_PORT, "http")
    service["spec"]["ports"][0]["appProtocol"] = "http"
    return [
        manifests.service_account(_name(assistant), assistant, NAME),
        service,
        _deployment(assistant, facts, bindings),
    ]


def _deployment(assistant: AIAssistant, facts: Facts, bindings: Bindings) -> Object:
    environment = _environment(assistant, bindings)
    secrets = [
        SecretKeyRef(**variable["valueFrom"]["secretKeyRef"]) for variable in environment if "valueFrom" in variable
    ]
    authorities = _authorities(assistant, bindings)
    selector = labels.selector(assistant.name, NAME)
    template = manifests.pod_template(
        assistant,
        NAME,
        user_id=_USER_ID,
        containers=[_container(assistant, facts, environment, authorities)],
        volumes=[{"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}}, *_certificates(authorities)],
        image=assistant.spec.image,
        config_hash=facts.config_hash([*secrets, *authorities.values()]),
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


def _authorities(assistant: AIAssistant, bindings: Bindings) -> dict[str, SecretKeyRef]:
    """Return the certificates of each server that needs its own."""
    found = {name: binding.ca for name, binding in bindings.items() if name in _VARIABLES and binding.ca}
    oidc = assistant.spec.security.oidc
    return found | ({"oidc": oidc.ca_from} if oidc and oidc.ca_from else {})


def _certificates(authorities: Mapping[str, SecretKeyRef]) -> list[Object]:
    """Build the volume with one file of certificates for each server that needs its own."""
    sources = [
        {"secret": {"name": ca.name, "items": [{"key": ca.key, "path": f"{name}.crt"}]}}
        for name, ca in authorities.items()
    ]
    return [{"name": "certificates", "projected": {"sources": sources}}] if sources else []


def _container(
    assistant: AIAssistant, facts: Facts, environment: list[Object], authorities: Mapping[str, SecretKeyRef]
) -> Object:
    spec = assistant.spec
    mounts: list[Object] = [{"name": "tmp", "mountPath": "/tmp"}]  # noqa: S108 - a mount path in the pod
    if authorities:
        mounts.append({"name": "certificates", "mountPath": _CERTIFICATES, "readOnly": True})
    return manifests.container(
        "runtime",
        spec.image.reference(facts.images[NAME]),
        spec.image,
        spec.resources,
        ports=[{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
        env=environment,
        livenessProbe=manifests.http_probe(
            "/health", "http", initialDelaySeconds=30, periodSeconds=10, timeoutSeconds=5
        ),
        readinessProbe=manifests.http_probe("/ready", "http", initialDelaySeconds=5, periodSeconds=5, timeoutSeconds=5),
        volumeMounts=mounts,
    )


def _environment(assistant: AIAssistant, bindings: Bindings) -> list[Object]:
    spec = assistant.spec
    behind_proxy = spec.security.behind_proxy
    variables = [
        env("ENVIRONMENT", spec.environment),
        env("HOST", "0.0.0.0"),  # noqa: S104 - the pod's own address
        env("PORT", PORT),
        env("LOG_LEVEL", spec.logging.level),
        env("LOG_FORMAT", spec.logging.format),
        secret_env("SECRET_KEY", _secret_key(assistant)),
        secret_env("API_KEYS", _api_keys(assistant)),
        env("BEHIND_PROXY", spec.ingress.enabled if behind_proxy is None else behind_proxy),
        *_providers(assistant),
        env("RATE_LIMIT_ENABLED", spec.rate_limit.enabled),
        env("RATE_LIMIT_REQUESTS", spec.rate_limit.requests),
        env("RATE_LIMIT_WINDOW", seconds(spec.rate_limit.window)),
        env("REDIS_CACHE_ENABLED", spec.cache.enabled),
        env("CACHE_TTL", seconds(spec.cache.ttl)),
        env("CACHE_COMPRESSION", spec.cache.compression),
        env("DRAIN_DELAY_SECONDS", _DRAIN_DELAY_SECONDS),
        env("SHUTDOWN_GRACE_SECONDS", _SHUTDOWN_GRACE_SECONDS),
    ]
    variables += [*_writers(spec.multi_writer), *_tools(spec.tools), *_agents(spec.agents)]
    variables += _identity(spec.security)
    variables += [
        env(f"TOKEN_BUDGET_{period.upper()}", tokens)
        for period, tokens in (("daily", spec.token_budget.daily), ("monthly", spec.token_budget.monthly))
        if tokens is not None
    ]
    if spec.security.cors_origins:
        variables.append(env("CORS_ORIGINS", ",".join(spec.security.cors_origins)))
    if spec.postgresql.enabled:
        variables.append(env("DATABASE_POOL_SIZE", spec.postgresql.pool.size))
        variables.append(env("DATABASE_MAX_OVERFLOW", spec.postgresql.pool.max_overflow))
    variables += [env(f"{_VARIABLES[name]}_TOOL_ENABLED", name in bindings) for name in _TOOLS]
    if spec.reranker.enabled:
        variables.append(env("JINA_RERANKER_MODEL", spec.reranker.model))
    for name, prefix in _VARIABLES.items():
        if name in bindings:
            variables += _connection(name, prefix, bindings[name])
    return variables


def _identity(security: Security) -> list[Object]:
    """Render who is believed beside API keys, and whether it is recorded."""
    variables = [env("AUDIT_ENABLED", security.audit.enabled)]
    if security.oidc is None:
        return variables
    given = {
        "ISSUER": security.oidc.issuer,
        "AUDIENCE": security.oidc.audience,
        "TENANT_CLAIM": security.oidc.tenant_claim,
        "SCOPES_CLAIM": security.oidc.scopes_claim,
        "CA_FILE": f"{_CERTIFICATES}/oidc.crt" if security.oidc.ca_from else None,
    }
    return variables + [env(f"OIDC_{name}", value) for name, value in given.items() if value is not None]


def _tools(tools: Tools) -> list[Object]:
    variables = [
        env("TOOL_CALLING_ENABLED", tools.enabled),
        env("MAX_TOOLS_PER_QUERY", tools.max_per_query),
        env("TOOL_EXECUTION_TIMEOUT", seconds(tools.timeout)),
        env("TOOL_TOTAL_TIMEOUT", seconds(tools.total_timeout)),
        env("FETCH_TOOL_ENABLED", tools.fetch_pages),
    ]
    if tools.allowed_hosts:
        variables.append(env("FETCH_ALLOWED_HOSTS", ",".join(tools.allowed_hosts)))
    if tools.mcp_servers:
        variables.append(env("MCP_SERVERS", json.dumps([_mcp_server(server) for server in tools.mcp_servers])))
    tokens = [(_token_variable(server), server.token_from) for server in tools.mcp_servers]
    return variables + [secret_env(name, token) for name, token in tokens if token]


def _mcp_server(server: McpServer) -> dict[str, str | list[str]]:
    described: dict[str, str | list[str]] = {"name": server.name, "url": server.url}
    if server.tools is not None:
        described["tools"] = server.tools
    return described | ({"token_env": _token_variable(server)} if server.token_from else {})


def _token_variable(server: McpServer) -> str:
    return f"MCP_{server.name.upper().replace('-', '_')}_TOKEN"


def _agents(agents: list[Agent]) -> list[Object]:
    described = [agent.model_dump(exclude_none=True) for agent in agents]
    return [env("AGENTS", json.dumps(described, ensure_ascii=False))] if agents else []


def _writers(multi_writer: MultiWriter) -> list[Object]:
    if not multi_writer.enabled:
        return [env("MULTI_WRITER_ENABLED", value=False)]
    return [
        env("MULTI_WRITER_ENABLED", value=True),
        env("WRITER_MODELS", ",".join(multi_writer.writers)),
        env("CHECKER_MODELS", ",".join(multi_writer.checkers)),
        env("WRITER_MAX_REVISIONS", multi_writer.max_revisions),
        env("WRITER_PASS_SCORE", multi_writer.pass_score),
    ]


def _url_end(binding: Binding) -> str:
    """Return how the name of the variable with the URL ends: Firecrawl has one for each of its modes."""
    mode = binding.settings.get("DEPLOYMENT_MODE")
    return f"{mode.upper()}_URL" if mode else "URL"


def _connection(name: str, prefix: str, binding: Binding) -> list[Object]:
    """Render how one server is reached, the same for all ways in which it may be run."""
    values: dict[str, str | SecretKeyRef | None] = {
        _url_end(binding): binding.url,
        "USERNAME": binding.username,
        "PASSWORD": binding.password,
        "API_KEY": binding.api_key,
        "CA_FILE": f"{_CERTIFICATES}/{name}.crt" if binding.ca else None,
        **binding.settings,
    }
    given = {f"{prefix}_{end}": value for end, value in values.items() if value is not None}
    return [
        secret_env(variable, value) if isinstance(value, SecretKeyRef) else env(variable, value)
        for variable, value in given.items()
    ]


def _providers(assistant: AIAssistant) -> list[Object]:
    """Render the first provider by the guide's variables, the others as one JSON list without their keys."""
    providers = assistant.providers
    first, *others = providers.items
    variables = [
        env("PREFERRED_PROVIDER", providers.preferred or first.name),
        env("ENABLE_PROVIDER_FALLBACK", providers.fallback),
        env("OPENAI_COMPATIBLE_NAME", first.name),
        env("OPENAI_COMPATIBLE_BASE_URL", first.base_url),
        env("OPENAI_COMPATIBLE_DEFAULT_MODEL", first.model),
        env("OPENAI_COMPATIBLE_TIMEOUT", seconds(first.timeout)),
    ]
    if first.api_key_from:
        variables.append(secret_env("OPENAI_COMPATIBLE_API_KEY", first.api_key_from))
    if others:
        variables.append(env("PROVIDERS", json.dumps([_further_provider(other) for other in others])))
    variables += [secret_env(_key_variable(other), other.api_key_from) for other in others if other.api_key_from]
    return variables


def _key_variable(provider: Provider) -> str:
    return f"PROVIDER_{provider.name.upper().replace('-', '_')}_API_KEY"


def _further_provider(provider: Provider) -> dict[str, str | int]:
    described: dict[str, str | int] = {
        "name": provider.name,
        "base_url": provider.base_url,
        "default_model": provider.model,
        "timeout": seconds(provider.timeout),
    }
    return described | ({"api_key_env": _key_variable(provider)} if provider.api_key_from else {})


COMPONENT = Component(
    name=NAME,
    condition="RuntimeReady",
    workloads=lambda assistant: [Workload("Deployment", _name(assistant), NAME)],
    objects=_objects,
    credentials=_credentials,
    references=_references,
)
