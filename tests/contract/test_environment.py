"""The seam between the two programs: what the operator renders, the runtime reads.

No import joins the programs, so these tests hold both ends together.
"""

import json
import re
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import settings as hypothesis_settings

from assistant_operator import desired, labels
from assistant_operator.components.environment import AGENTS_FILE, CERTIFICATES, agents
from assistant_operator.components.runtime import PORT
from assistant_operator.rooms import manifests
from assistant_operator.rooms.facts import Facts
from assistant_operator.spec.assistant import AIAssistant
from assistant_operator.spec.values import seconds
from assistant_runtime.app import create_app
from assistant_runtime.settings import Settings
from assistant_runtime.settings.ui import PageSettings
from tests.operator.assistants import FACTS, PROVIDERS, assistant, facts
from tests.operator.strategies import ASSISTANTS
from tests.support.tls import Authority

NOT_RENDERED = {
    "PROMETHEUS_ENABLED": "always on",
    "PROMETHEUS_PORT": "/metrics is served on the API's port, which no Ingress publishes",
    "AGENTS": "AGENTS_FILE holds them: prompts may be too long for a variable",
    "DEBUG": "production answers show no internals",
    "LOCAL_MODEL_PORT": "for laptops: in a cluster a model is a server of its own",
    "METRICS_COLLECTION_ENABLED": "always on",
    **dict.fromkeys(
        ("GRADIO_ENABLED", "GRADIO_HOST", "GRADIO_PORT", "GRADIO_ROOT_PATH", "ASSISTANT_URL", "POD_IP"),
        "the chat page has pods of its own",
    ),
    **dict.fromkeys(
        (
            "REQUEST_HEAD_TIMEOUT_SECONDS",
            "REQUEST_BODY_TIMEOUT_SECONDS",
            "REQUEST_MIN_BYTES_PER_SECOND",
            "STALLED_WRITE_TIMEOUT_SECONDS",
            "MAX_CONNECTIONS",
        ),
        "no assistant needs another patience with slow clients",
    ),
    "IDEMPOTENCY_TTL": "a day is what clients that send the header expect",
    "WORKERS": "a pod has one, and replicas scale it",
    "DATA_DIR": "a pod's file system is not kept; stores in the cluster have servers",
    "REDIS_USERNAME": "a URL in a Secret has it; what the operators of Redis run has its default user only",
}
"""Variables of the runtime that no field of an AIAssistant sets, and why."""

FULL: dict[str, Any] = {
    "providers": {
        "embeddingModel": "other/embedder",
        "items": [
            {
                **PROVIDERS["items"][0],
                "baseURL": "https://a.example.com/v1",
                "apiKeyFrom": {"name": "one"},
                "caFrom": {"name": "authority"},
            },
            {
                "name": "other",
                "baseURL": "https://b.example.com/v1",
                "model": "m",
                "apiKeyFrom": {"name": "two"},
                "caFrom": {"name": "authority"},
            },
        ],
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
    "retrieval": {"embeddingProvider": "provider"},
    "tracing": {
        "endpoint": "https://collector:4318",
        "headersFrom": {"name": "collector"},
        "caFrom": {"name": "collector"},
    },
    "rateLimit": {"requests": 7, "window": "2m", "tokensPerMinute": 90_000, "maxParallelRequests": 20},
    "tokenBudget": {"daily": 1000, "monthly": 10_000},
    "multiWriter": {"enabled": True},
    "tools": {
        "allowedHosts": ["docs.corp.example"],
        "mcpServers": [
            {
                "name": "desk",
                "url": "https://desk.example.com/mcp",
                "tokenFrom": {"name": "one"},
                "caFrom": {"name": "authority", "kind": "ConfigMap"},
                "acceptDefaults": True,
            }
        ],
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
            "sentinelPasswordFrom": {"name": "redis"},
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
GOLDEN = Path(__file__).parents[1] / "operator/golden/runtime"
OBJECTS = sorted(
    path.name.removesuffix(".input.yaml") for path in GOLDEN.glob("*.input.yaml") if "operatorRef" in path.read_text()
)
"""Golden cases in which an object of another operator stands for a server."""
SECRETS = {
    "OTEL_EXPORTER_OTLP_HEADERS": "authorization=Bearer%20token",
    "SECRET_KEY": "0123456789abcdef0123456789abcdef",
    "SECRET_KEY_PREVIOUS": "fedcba9876543210fedcba9876543210",
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


def pod_of(found: AIAssistant, component: str = "runtime", known: Facts = FACTS) -> dict[str, Any]:
    rendered = desired.desired(found, known).objects
    deployment = next(
        o for o in rendered if o["kind"] == "Deployment" and o["metadata"]["labels"][labels.NAME] == component
    )
    spec: dict[str, Any] = deployment["spec"]["template"]["spec"]
    return spec


def variables_of(found: AIAssistant, folder: Path, known: Facts = FACTS) -> dict[str, str]:
    """The container's environment as the kubelet would set it, with made-up Secret values, and files in `folder`."""
    variables = {v["name"]: v.get("value") for v in pod_of(found, known=known)["containers"][0]["env"]}
    made_up = {name: SECRETS.get(name, "from-a-secret") for name, value in variables.items() if value is None}
    given = {**variables, **made_up}
    if "AGENTS_FILE" in given:
        (folder / AGENTS_FILE).write_text(agents(found))
        given["AGENTS_FILE"] = str(folder / AGENTS_FILE)
    # Of certificates that are not here, any will do.
    certificate = folder / "any.crt"
    if not certificate.exists():
        Authority(folder, "any")
    return {name: re.sub(rf"{CERTIFICATES}/[a-z0-9-]+\.crt", str(certificate), value) for name, value in given.items()}


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[AIAssistant], Settings]:
    def use(found: AIAssistant) -> Settings:
        for name, value in variables_of(found, tmp_path).items():
            monkeypatch.setenv(name, value)
        return Settings.load()

    return use


def _referenced(case: str, folder: Path) -> dict[str, str]:
    source, *others = yaml.safe_load_all((GOLDEN / f"{case}.input.yaml").read_text())
    found = AIAssistant.model_validate(source)
    return variables_of(found, folder, facts(found, *others))


def test_every_rendered_variable_is_one_that_the_runtime_declares(tmp_path: Path) -> None:
    rendered = variables_of(assistant(**FULL), tmp_path) | variables_of(assistant(**ELSEWHERE), tmp_path)
    for case in OBJECTS:
        rendered |= _referenced(case, tmp_path)
    keys = {provider["api_key_env"] for provider in json.loads(rendered["PROVIDERS"])}
    assert [server["accept_defaults"] for server in json.loads(rendered["MCP_SERVERS"])] == [True]
    keys |= {server["token_env"] for server in json.loads(rendered["MCP_SERVERS"])}
    declared = {name.upper() for name in Settings.model_fields}
    assert set(rendered) - keys == declared - set(NOT_RENDERED)
    assert keys <= set(rendered)


@pytest.mark.parametrize("case", OBJECTS)
def test_what_another_operators_object_says_starts_the_runtime(
    case: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for name, value in _referenced(case, tmp_path).items():
        monkeypatch.setenv(name, value)
    Settings.load()


@hypothesis_settings(deadline=None)
@given(ASSISTANTS)
def test_any_valid_assistant_starts_the_runtime(found: AIAssistant) -> None:
    with pytest.MonkeyPatch.context() as patch, TemporaryDirectory() as folder:
        for name, value in variables_of(found, Path(folder)).items():
            patch.setenv(name, value)
        settings = Settings.load()
        assert set(settings.configured_agents()) == {agent.name for agent in found.spec.agents}
    assert settings.rate_limit_window == seconds(found.spec.rate_limit.window)
    assert settings.cache_ttl == seconds(found.spec.cache.ttl)
    assert (settings.redis_url is not None) == found.spec.redis.enabled


def test_values_arrive(environment: Any) -> None:
    settings = environment(assistant(**FULL, cache={"compression": False}))
    assert (settings.rate_limit_requests, settings.rate_limit_window) == (7, 120)
    assert (settings.tokens_per_minute, settings.max_parallel_requests) == (90_000, 20)
    assert settings.cache_compression is False
    assert settings.cors_origins == ("https://a.example.com",)
    assert settings.openai_compatible_base_url == "https://a.example.com/v1"
    (other,) = settings.providers
    assert (other.name, other.retries, other.weight) == ("other", 2, 0)
    assert Path(other.ca_file or "").name == "any.crt"
    assert settings.max_request_bytes == 4 * 1024 * 1024
    assert (settings.otel_service_name, settings.embedding_model) == ("demo", "other/embedder")


def test_limits_that_are_turned_off_are_all_off(environment: Any) -> None:
    settings = environment(assistant(rateLimit={"enabled": False, "tokensPerMinute": 90_000}))
    assert not settings.rate_limit_enabled
    assert (settings.tokens_per_minute, settings.max_parallel_requests) == (0, 0)


def test_a_resource_without_more_has_the_runtimes_own_defaults(environment: Any) -> None:
    settings = environment(assistant())
    given = {"openai_compatible_name", "openai_compatible_default_model", "preferred_provider", "redis_cache_enabled"}
    given |= {
        "environment",
        "host",
        "log_format",
        "secret_key",
        "secret_key_previous",
        "api_keys",
        "shutdown_grace_seconds",
        "searxng_tool_enabled",
    }
    for name, field in Settings.model_fields.items():
        if name not in given and not name.endswith(("_url", "_username", "_password")):
            assert getattr(settings, name) == field.default, name


def test_ports_and_probe_paths_are_served(environment: Any) -> None:
    found = assistant(**FULL)
    settings = environment(found)
    container = pod_of(found)["containers"][0]
    assert settings.port == PORT == container["ports"][0]["containerPort"]
    paths = set(create_app(settings).openapi()["paths"])
    probed = {container[probe]["httpGet"]["path"] for probe in ("startupProbe", "livenessProbe", "readinessProbe")}
    assert probed == {"/health", "/ready"}
    assert probed <= paths


def test_the_ingress_publishes_all_but_what_tells_of_the_cluster_without_a_key(environment: Any) -> None:
    found = assistant(**FULL, ingress={"enabled": True, "host": "assistant.example.com"})
    (ingress,) = (body for body in desired.desired(found, FACTS).objects if body["kind"] == "Ingress")
    (rule,) = ingress["spec"]["rules"]
    published = [path["path"] for path in rule["http"]["paths"]]
    paths = set(create_app(environment(found)).openapi()["paths"])
    reached = {path for path in paths if any(path == root or path.startswith(f"{root}/") for root in published)}
    assert paths - reached == {"/ready", "/metrics"}


def test_a_pod_lives_long_enough_to_drain(environment: Any) -> None:
    found = assistant(**FULL)
    settings = environment(found)
    needed = settings.drain_delay_seconds + settings.shutdown_grace_seconds
    assert needed < pod_of(found)["terminationGracePeriodSeconds"]


def test_every_variable_of_the_chat_page_is_one_that_it_declares_and_no_secret() -> None:
    (container,) = pod_of(assistant(**FULL, ui={"enabled": True}), "ui")["containers"]
    assert {variable["name"].lower() for variable in container["env"]} <= set(PageSettings.model_fields)
    assert not manifests.secrets_of(container["env"])
    assert "envFrom" not in container
