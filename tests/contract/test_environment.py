"""The seam between the two programs: what the operator renders, the runtime reads.

No import joins the programs, so these tests hold both ends together.
"""

import json
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import settings as hypothesis_settings

from assistant_operator import desired, labels
from assistant_operator.assistant import AIAssistant
from assistant_operator.components.runtime import PORT
from assistant_operator.values import seconds
from assistant_runtime.app import create_app
from assistant_runtime.settings import Settings
from tests.operator.assistants import FACTS, PROVIDERS, assistant
from tests.operator.strategies import ASSISTANTS

NOT_RENDERED = {
    "OTEL_EXPORTER_OTLP_ENDPOINT": "podTemplate's env sets it, as for any program",
    "OTEL_SERVICE_NAME": "podTemplate's env sets it, as for any program",
    "MAX_CONCURRENT_REQUESTS": "the default serves",
    "MAX_EVENT_LOOP_LAG_SECONDS": "the default serves",
    "OPENAI_COMPATIBLE_RETRIES": "comes with spec.providers.items.retries",
    "OPENAI_COMPATIBLE_WEIGHT": "comes with spec.providers.items.weight",
    "PROMETHEUS_ENABLED": "always on",
    "PROMETHEUS_PORT": "/metrics is served on the API's port, which no Ingress publishes",
    "PROVIDER_BREAKER_FAILURES": "the default serves",
    "PROVIDER_BREAKER_SECONDS": "the default serves",
    "AGENTS_FILE": "AGENTS serves",
    "OPENAI_COMPATIBLE_CA_FILE": "comes with spec.providers.items.caFrom",
    "EMBEDDING_MODEL": "comes with spec.providers.embeddingModel",
    "DEBUG": "production answers show no internals",
    "MAX_REQUEST_BYTES": "the default serves",
    "LOCAL_MODEL_PORT": "for laptops: in a cluster a model is a server of its own",
    "METRICS_COLLECTION_ENABLED": "always on",
    "TOOL_TOTAL_BYTES": "the default serves",
    "WRITER_JOBS_AT_ONCE": "the default serves",
    **dict.fromkeys(
        ("GRADIO_ENABLED", "GRADIO_HOST", "GRADIO_PORT", "GRADIO_ROOT_PATH", "ASSISTANT_URL"),
        "the chat page has pods of its own",
    ),
    "DATA_DIR": "a pod's file system is not kept; stores in the cluster have servers",
    "SESSION_HISTORY_MESSAGES": "the default serves",
    "SESSION_MAX_MESSAGES": "the default serves",
    "SESSIONS_PER_TENANT": "the default serves",
    "REDIS_USERNAME": "comes with spec.redis",
    "REDIS_PASSWORD": "comes with spec.redis",
    "MONGODB_USERNAME": "comes with spec.mongodb",
    "MONGODB_PASSWORD": "comes with spec.mongodb",
    "DATABASE_USERNAME": "comes with spec.postgresql",
    "DATABASE_PASSWORD": "comes with spec.postgresql",
    "EMBEDDING_PROVIDER": "comes with spec.retrieval",
    "MILVUS_COLLECTION": "comes with spec.retrieval",
    "RETRIEVAL_CHUNK_CHARACTERS": "comes with spec.retrieval",
    "RETRIEVAL_CHUNK_OVERLAP": "comes with spec.retrieval",
    "RETRIEVAL_LIMIT": "comes with spec.retrieval",
    "RETRIEVAL_MAX_DOCUMENTS": "comes with spec.retrieval",
    "RETRIEVAL_TOOL_ENABLED": "comes with spec.retrieval",
}
"""Variables of the runtime that no field of an AIAssistant sets, and why."""

FULL: dict[str, Any] = {
    "providers": {
        "items": [
            {**PROVIDERS["items"][0], "apiKeyFrom": {"name": "one"}},
            {"name": "other", "baseURL": "https://b.example.com/v1", "model": "m", "apiKeyFrom": {"name": "two"}},
        ]
    },
    "security": {
        "corsOrigins": ["https://a.example.com"],
        "oidc": {
            "issuer": "https://login.example.com",
            "audience": "a",
            "scopesClaim": "scope",
            "caFrom": {"name": "authority"},
        },
    },
    "tokenBudget": {"daily": 1000, "monthly": 10_000},
    "multiWriter": {"enabled": True},
    "tools": {
        "allowedHosts": ["docs.corp.example"],
        "mcpServers": [{"name": "desk", "url": "http://desk:8000/mcp", "tokenFrom": {"name": "one"}}],
    },
    "agents": [{"name": "helper", "prompt": "Help."}],
    "mongodb": {"enabled": True},
    "postgresql": {"enabled": True},
    "milvus": {"enabled": True},
    "firecrawl": {"enabled": True},
    "reranker": {"enabled": True, "managed": {"image": {"repository": "reranker", "tag": "1"}}},
    "searxng": {"enabled": True, "external": {"url": "https://searxng.example.com", "caFrom": {"name": "authority"}}},
}
ELSEWHERE: dict[str, Any] = {
    **FULL,
    "redis": {
        "external": {
            "urlFrom": {"name": "redis"},
            "caFrom": {"name": "redis"},
            "topology": "sentinel",
            "sentinelMaster": "mymaster",
        }
    },
    "mongodb": {"enabled": True, "external": {"urlFrom": {"name": "m"}, "caFrom": {"name": "m"}}},
    "postgresql": {"enabled": True, "external": {"urlFrom": {"name": "sql"}, "caFrom": {"name": "sql"}}},
    "milvus": {
        "enabled": True,
        "external": {
            "url": "https://milvus.example.com:19530",
            "apiKeyFrom": {"name": "milvus"},
            "caFrom": {"name": "authority"},
        },
    },
    "firecrawl": {
        "enabled": True,
        "external": {"mode": "cloud", "apiKeyFrom": {"name": "firecrawl"}, "caFrom": {"name": "authority"}},
    },
    "reranker": {
        "enabled": True,
        "external": {
            "url": "https://api.jina.ai",
            "apiKeyFrom": {"name": "jina"},
            "caFrom": {"name": "authority"},
        },
    },
}
"""The same with servers that need more to be said of them."""
SECRETS = {
    "SECRET_KEY": "0123456789abcdef0123456789abcdef",
    "REDIS_URL": "redis://:pw@demo-redis:6379/0",
    "MONGODB_URL": "mongodb://assistant:pw@demo-mongodb:27017/ai_assistant?authSource=admin",
    "DATABASE_URL": "postgresql://assistant:pw@demo-postgresql:5432/ai_assistant",
    "SEARXNG_URL": "http://searxng:8080",
    "MILVUS_URL": "https://milvus:19530",
    "FIRECRAWL_DOCKER_URL": "http://firecrawl:3002",
    "FIRECRAWL_CLOUD_URL": "https://api.firecrawl.dev",
    "JINA_RERANKER_URL": "http://reranker:8000",
}
"""Values of Secrets that must have a form; any other will do."""


def _pod(found: AIAssistant, component: str = "runtime") -> dict[str, Any]:
    rendered = desired.desired(found, FACTS).objects
    deployment = next(
        o for o in rendered if o["kind"] == "Deployment" and o["metadata"]["labels"][labels.NAME] == component
    )
    spec: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return spec


def _environment(found: AIAssistant) -> dict[str, str]:
    """The container's environment as the kubelet would set it, with made-up Secret values."""
    variables = {v["name"]: v.get("value") for v in _pod(found)["containers"][0]["env"]}
    made_up = {name: SECRETS.get(name, "from-a-secret") for name, value in variables.items() if value is None}
    # The mounted files are not here; any readable one does.
    mounted = dict.fromkeys((name for name in variables if name.endswith("_CA_FILE")), __file__)
    return {**variables, **made_up, **mounted}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Callable[[AIAssistant], Settings]:
    def use(found: AIAssistant) -> Settings:
        for name, value in _environment(found).items():
            monkeypatch.setenv(name, value)
        return Settings.load()

    return use


def test_every_rendered_variable_is_one_that_the_runtime_declares() -> None:
    rendered = _environment(assistant(**FULL)) | _environment(assistant(**ELSEWHERE))
    keys = {provider["api_key_env"] for provider in json.loads(rendered["PROVIDERS"])}
    keys |= {server["token_env"] for server in json.loads(rendered["MCP_SERVERS"])}
    declared = {name.upper() for name in Settings.model_fields}
    assert set(rendered) - keys == declared - set(NOT_RENDERED)
    assert keys <= set(rendered)


@hypothesis_settings(deadline=None)
@given(ASSISTANTS)
def test_any_valid_assistant_starts_the_runtime(found: AIAssistant) -> None:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in _environment(found).items():
            patch.setenv(name, value)
        settings = Settings.load()
    assert settings.rate_limit_window == seconds(found.spec.rate_limit.window)
    assert settings.cache_ttl == seconds(found.spec.cache.ttl)
    assert (settings.redis_url is not None) == found.spec.redis.enabled


def test_values_arrive(environment: Any) -> None:
    settings = environment(assistant(**FULL, rateLimit={"requests": 7, "window": "2m"}, cache={"compression": False}))
    assert (settings.rate_limit_requests, settings.rate_limit_window) == (7, 120)
    assert settings.cache_compression is False
    assert settings.cors_origins == ("https://a.example.com",)
    assert settings.openai_compatible_base_url == "http://model-server:8080/v1"
    assert [p.name for p in settings.providers] == ["other"]


def test_ports_and_probe_paths_are_served(environment: Any) -> None:
    found = assistant(**FULL)
    settings = environment(found)
    container = _pod(found)["containers"][0]
    assert settings.port == PORT == container["ports"][0]["containerPort"]
    paths = set(create_app(settings).openapi()["paths"])
    probed = {container[probe]["httpGet"]["path"] for probe in ("livenessProbe", "readinessProbe")}
    assert probed == {"/health", "/ready"}
    assert probed <= paths


def test_a_pod_lives_long_enough_to_drain(environment: Any) -> None:
    found = assistant(**FULL)
    settings = environment(found)
    needed = settings.drain_delay_seconds + settings.shutdown_grace_seconds
    assert needed < _pod(found)["terminationGracePeriodSeconds"]


def test_every_variable_of_the_chat_page_is_one_that_the_runtime_declares() -> None:
    (container,) = _pod(assistant(**FULL, ui={"enabled": True}), "ui")["containers"]
    assert {variable["name"].lower() for variable in container["env"]} <= set(Settings.model_fields)
