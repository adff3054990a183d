"""The environment of the runtime: what of the resource its settings read, and the files that they name.

This is the seam between the two programs: `tests/contract` compares the names rendered here with the variables that the
runtime's settings declare.
"""

import json

from assistant_operator.rooms.binding import Binding, Bindings
from assistant_operator.rooms.manifests import Object, env, secret_env
from assistant_operator.spec.assistant import AIAssistant
from assistant_operator.spec.base import KeyRef, SecretKeyRef
from assistant_operator.spec.capacity import Capacity
from assistant_operator.spec.multi_writer import MultiWriter
from assistant_operator.spec.providers import Provider
from assistant_operator.spec.retention import Retention
from assistant_operator.spec.retrieval import Retrieval
from assistant_operator.spec.security import Security
from assistant_operator.spec.sessions import Sessions
from assistant_operator.spec.tools import McpServer, Tools
from assistant_operator.spec.tracing import Tracing
from assistant_operator.spec.values import quantity, seconds

CERTIFICATES = "/etc/assistant-runtime/certificates"
"""Folder of the certificates to trust, a file for each name in `authorities`."""

AGENTS = "/etc/assistant-runtime/agents"
"""Folder of the file with the agents."""

AGENTS_FILE = "agents.json"
"""A file and no variable: one variable may have 128 KiB on Linux, and prompts are long."""

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


def authorities(assistant: AIAssistant, bindings: Bindings) -> dict[str, KeyRef]:
    """Return the certificates of each server that needs its own, by the name of their file."""
    oidc = assistant.spec.security.oidc
    named: dict[str, KeyRef | None] = {
        **{name: binding.ca for name, binding in bindings.items() if name in _VARIABLES},
        **{_authority(provider): provider.ca_from for provider in assistant.providers.items},
        **{_authority(server): server.ca_from for server in assistant.spec.tools.mcp_servers},
        "oidc": oidc.ca_from if oidc else None,
        "tracing": assistant.spec.tracing.ca_from if assistant.spec.tracing.endpoint else None,
    }
    return {name: key for name, key in named.items() if key}


def _certificate(name: str) -> str:
    """Return the path of a file of certificates."""
    return f"{CERTIFICATES}/{name}.crt"


def agents(assistant: AIAssistant) -> str:
    """Return the text of the file with the agents."""
    described = [agent.model_dump(exclude_none=True) for agent in assistant.spec.agents]
    return json.dumps(described, ensure_ascii=False, indent=2)


def servers(bindings: Bindings) -> list[Binding]:
    """Return the servers that the runtime calls."""
    return [bindings[name] for name in _VARIABLES if name in bindings]


def urls(assistant: AIAssistant) -> list[str]:
    """Return the addresses that the resource names for the runtime, those of the components' servers excepted."""
    spec = assistant.spec
    found = [provider.base_url for provider in assistant.providers.items]
    found += [server.url for server in spec.tools.mcp_servers]
    found += [spec.tracing.endpoint] if spec.tracing.endpoint else []
    return found + ([spec.security.oidc.issuer] if spec.security.oidc else [])


def variables(assistant: AIAssistant, bindings: Bindings) -> list[Object]:
    """Return what the resource and the servers of its components say to the runtime, as `env` of its container."""
    spec = assistant.spec
    behind_proxy = spec.security.behind_proxy
    found = [
        env("ENVIRONMENT", spec.environment),
        env("LOG_LEVEL", spec.logging.level),
        env("LOG_FORMAT", spec.logging.format),
        env("BEHIND_PROXY", spec.ingress.enabled if behind_proxy is None else behind_proxy),
        *_providers(assistant),
        env("RATE_LIMIT_ENABLED", spec.rate_limit.enabled),
        env("RATE_LIMIT_REQUESTS", spec.rate_limit.requests),
        env("RATE_LIMIT_WINDOW", seconds(spec.rate_limit.window)),
        env("MAX_PARALLEL_REQUESTS", spec.rate_limit.max_parallel_requests if spec.rate_limit.enabled else 0),
        env("REDIS_CACHE_ENABLED", spec.cache.enabled),
        env("CACHE_TTL", seconds(spec.cache.ttl)),
        env("CACHE_COMPRESSION", spec.cache.compression),
    ]
    found += [*_writers(spec.multi_writer), *_tools(spec.tools)]
    if spec.agents:
        found.append(env("AGENTS_FILE", f"{AGENTS}/{AGENTS_FILE}"))
    found += [*_capacity(spec.capacity), *_sessions(spec.sessions), *_retention(spec.retention)]
    found += _retrieval(spec.retrieval)
    found += [*_identity(spec.security), *_tracing(assistant.name, spec.tracing)]
    found += [
        env(f"TOKEN_BUDGET_{period.upper()}", tokens)
        for period, tokens in (("daily", spec.token_budget.daily), ("monthly", spec.token_budget.monthly))
        if tokens is not None
    ]
    if spec.rate_limit.enabled and spec.rate_limit.tokens_per_minute is not None:
        found.append(env("TOKENS_PER_MINUTE", spec.rate_limit.tokens_per_minute))
    if spec.security.cors_origins:
        found.append(env("CORS_ORIGINS", ",".join(spec.security.cors_origins)))
    if spec.postgresql.enabled:
        found.append(env("DATABASE_POOL_SIZE", spec.postgresql.pool.size))
        found.append(env("DATABASE_MAX_OVERFLOW", spec.postgresql.pool.max_overflow))
    found += [env(f"{_VARIABLES[name]}_TOOL_ENABLED", name in bindings) for name in _TOOLS]
    if spec.reranker.enabled:
        found.append(env("JINA_RERANKER_MODEL", spec.reranker.model))
    for name, prefix in _VARIABLES.items():
        if name in bindings:
            found += _connection(name, prefix, bindings[name])
    return found


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
        "CA_FILE": _certificate("oidc") if security.oidc.ca_from else None,
    }
    return variables + [env(f"OIDC_{name}", value) for name, value in given.items() if value is not None]


def _capacity(capacity: Capacity) -> list[Object]:
    return [
        env("MAX_CONCURRENT_REQUESTS", capacity.max_concurrent_requests),
        env("MAX_EVENT_LOOP_LAG_SECONDS", seconds(capacity.max_event_loop_lag)),
        env("MAX_REQUEST_BYTES", int(quantity(capacity.max_request_size))),
    ]


def _sessions(sessions: Sessions) -> list[Object]:
    return [
        env("SESSION_HISTORY_MESSAGES", sessions.history_messages),
        env("SESSION_MAX_MESSAGES", sessions.max_messages),
        env("SESSIONS_PER_TENANT", sessions.max_sessions),
    ]


def _retention(retention: Retention) -> list[Object]:
    return [
        env("RETENTION_SESSIONS_DAYS", retention.sessions_days),
        env("RETENTION_RESPONSES_DAYS", retention.responses_days),
        env("RETENTION_AUDIT_DAYS", retention.audit_days),
        env("RETENTION_USAGE_DAYS", retention.usage_days),
        env("RETENTION_JOBS_DAYS", retention.jobs_days),
    ]


def _retrieval(retrieval: Retrieval) -> list[Object]:
    found = [
        env("MILVUS_COLLECTION", retrieval.collection),
        env("RETRIEVAL_CHUNK_CHARACTERS", retrieval.chunk_characters),
        env("RETRIEVAL_CHUNK_OVERLAP", retrieval.chunk_overlap),
        env("RETRIEVAL_LIMIT", retrieval.limit),
        env("RETRIEVAL_MAX_DOCUMENTS", retrieval.max_documents),
        env("RETRIEVAL_TOOL_ENABLED", retrieval.tool_enabled),
    ]
    return [*found, env("EMBEDDING_PROVIDER", retrieval.embedding_provider)] if retrieval.embedding_provider else found


def _tracing(name: str, tracing: Tracing) -> list[Object]:
    if tracing.endpoint is None:
        return []
    found = [
        env("OTEL_EXPORTER_OTLP_ENDPOINT", tracing.endpoint),
        env("OTEL_SERVICE_NAME", tracing.service_name or name),
    ]
    if tracing.headers_from:
        found.append(secret_env("OTEL_EXPORTER_OTLP_HEADERS", tracing.headers_from))
    if tracing.ca_from:
        found.append(env("OTEL_EXPORTER_OTLP_CERTIFICATE", _certificate("tracing")))
    return found


def _tools(tools: Tools) -> list[Object]:
    variables = [
        env("TOOL_CALLING_ENABLED", tools.enabled),
        env("MAX_TOOLS_PER_QUERY", tools.max_per_query),
        env("TOOL_EXECUTION_TIMEOUT", seconds(tools.timeout)),
        env("TOOL_TOTAL_TIMEOUT", seconds(tools.total_timeout)),
        env("TOOL_TOTAL_BYTES", int(quantity(tools.total_size))),
        env("FETCH_TOOL_ENABLED", tools.fetch_pages),
    ]
    if tools.allowed_hosts:
        variables.append(env("FETCH_ALLOWED_HOSTS", ",".join(tools.allowed_hosts)))
    if tools.mcp_servers:
        variables.append(env("MCP_SERVERS", json.dumps([_mcp_server(server) for server in tools.mcp_servers])))
    tokens = [(_token_variable(server), server.token_from) for server in tools.mcp_servers]
    return variables + [secret_env(name, token) for name, token in tokens if token]


def _mcp_server(server: McpServer) -> dict[str, str | bool | list[str]]:
    described: dict[str, str | bool | list[str]] = {"name": server.name, "url": server.url}
    if server.tools is not None:
        described["tools"] = server.tools
    if server.token_from:
        described["token_env"] = _token_variable(server)
    if server.accept_defaults:
        described["accept_defaults"] = True
    return described | ({"ca_file": _certificate(_authority(server))} if server.ca_from else {})


def _token_variable(server: McpServer) -> str:
    return f"MCP_{server.name.upper().replace('-', '_')}_TOKEN"


def _writers(multi_writer: MultiWriter) -> list[Object]:
    if not multi_writer.enabled:
        return [env("MULTI_WRITER_ENABLED", value=False)]
    return [
        env("MULTI_WRITER_ENABLED", value=True),
        env("WRITER_MODELS", ",".join(multi_writer.writers)),
        env("CHECKER_MODELS", ",".join(multi_writer.checkers)),
        env("WRITER_MAX_REVISIONS", multi_writer.max_revisions),
        env("WRITER_PASS_SCORE", multi_writer.pass_score),
        env("WRITER_JOBS_AT_ONCE", multi_writer.max_concurrent_jobs),
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
        "CA_FILE": _certificate(name) if binding.ca else None,
        **binding.settings,
        **binding.secret_settings,
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
        env("PROVIDER_BREAKER_FAILURES", providers.circuit_breaker.failures),
        env("PROVIDER_BREAKER_SECONDS", seconds(providers.circuit_breaker.pause)),
        *(env(f"OPENAI_COMPATIBLE_{name.upper()}", value) for name, value in _provider(first).items()),
    ]
    if first.api_key_from:
        variables.append(secret_env("OPENAI_COMPATIBLE_API_KEY", first.api_key_from))
    if providers.embedding_model:
        variables.append(env("EMBEDDING_MODEL", providers.embedding_model))
    if others:
        variables.append(env("PROVIDERS", json.dumps([_further_provider(other) for other in others])))
    variables += [secret_env(_key_variable(other), other.api_key_from) for other in others if other.api_key_from]
    return variables


def _provider(provider: Provider) -> dict[str, str | int | bool]:
    """Describe a provider, all but its key, by the names that the variables of the first one have too."""
    described: dict[str, str | int | bool] = {
        "name": provider.name,
        "base_url": provider.base_url,
        "default_model": provider.model,
        "timeout": seconds(provider.timeout),
        "weight": provider.weight,
        "retries": provider.retries,
        "any_model": provider.any_model,
    }
    return described | ({"ca_file": _certificate(_authority(provider))} if provider.ca_from else {})


def _further_provider(provider: Provider) -> dict[str, str | int | bool]:
    return _provider(provider) | ({"api_key_env": _key_variable(provider)} if provider.api_key_from else {})


def _key_variable(provider: Provider) -> str:
    return f"PROVIDER_{provider.name.upper().replace('-', '_')}_API_KEY"


def _authority(server: Provider | McpServer) -> str:
    """Return the name of the file with the certificates to trust for one of several servers."""
    return f"{'provider' if isinstance(server, Provider) else 'mcp'}-{server.name}"
