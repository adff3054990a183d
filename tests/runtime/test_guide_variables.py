"""Every variable of the deployment guide's environment works under its name, typed here as the guide has it."""

import ast
from pathlib import Path
from typing import Any

import pytest

from assistant_runtime.errors import SettingsError
from assistant_runtime.settings import Settings
from assistant_runtime.stores.sql import engine_for
from tests.runtime.test_agents import call
from tests.runtime.test_web_tools import ask
from tests.support.json_server import run_json_server
from tests.support.runtime import run_runtime
from tests.support.tool_calls import calls, says
from tests.support.upstream import Upstream

GUIDE = {
    "ENVIRONMENT": "production",
    "LOG_LEVEL": "INFO",
    "DEBUG": "false",
    "HOST": "0.0.0.0",
    "PORT": "8000",
    "SECRET_KEY": "your-super-secret-key-here",
    "BEHIND_PROXY": "true",
    "CORS_ORIGINS": "https://yourdomain.com",
    "OPENAI_COMPATIBLE_API_KEY": "your_api_key_here",
    "OPENAI_COMPATIBLE_BASE_URL": "https://openrouter.ai/api/v1",
    "OPENAI_COMPATIBLE_DEFAULT_MODEL": "anthropic/claude-3.5-sonnet",
    "PREFERRED_PROVIDER": "openai_compatible",
    "ENABLE_PROVIDER_FALLBACK": "true",
    "DATABASE_URL": "postgresql://user:password@postgres:5432/ai_assistant",
    "DATABASE_POOL_SIZE": "20",
    "DATABASE_MAX_OVERFLOW": "30",
    "REDIS_URL": "redis://redis:6379/0",
    "REDIS_CACHE_ENABLED": "true",
    "CACHE_TTL": "3600",
    "CACHE_COMPRESSION": "true",
    "MONGODB_URL": "mongodb://mongo:27017/ai_assistant",
    "MULTI_WRITER_ENABLED": "false",
    "TOOL_CALLING_ENABLED": "true",
    "MAX_TOOLS_PER_QUERY": "3",
    "TOOL_EXECUTION_TIMEOUT": "30",
    "SEARXNG_URL": "http://searxng:8080",
    "SEARXNG_TOOL_ENABLED": "true",
    "FIRECRAWL_DEPLOYMENT_MODE": "docker",
    "FIRECRAWL_DOCKER_URL": "http://firecrawl-api:3002",
    "FIRECRAWL_TOOL_ENABLED": "false",
    "JINA_RERANKER_URL": "http://jina-reranker:8000",
    "JINA_RERANKER_TOOL_ENABLED": "false",
    "PROMETHEUS_ENABLED": "true",
    "PROMETHEUS_PORT": "9090",
    "METRICS_COLLECTION_ENABLED": "true",
    "RATE_LIMIT_ENABLED": "true",
    "RATE_LIMIT_REQUESTS": "100",
    "RATE_LIMIT_WINDOW": "60",
    "GRADIO_ENABLED": "true",
    "GRADIO_HOST": "0.0.0.0",
    "GRADIO_PORT": "7860",
}
API_KEYS = "a-key-of-a-client"
"""Ours, and needed in production: without it anyone who reaches the port spends the provider's tokens."""

SHOWN_BY = {
    "ENVIRONMENT": "test_settings::test_the_start_is_refused_with_one_clear_message",
    "LOG_LEVEL": "test_logs::test_requests_are_not_logged_above_info",
    "DEBUG": "test_operation::test_an_internal_error_tells_its_text_in_debug_alone",
    "HOST": "test_cli::test_healthcheck_asks_where_an_ipv6_server_listens",
    "PORT": "test_cli::test_healthcheck_follows_the_server",
    "SECRET_KEY": "test_guide_variables::test_the_secret_key_decides_who_a_client_is",
    "BEHIND_PROXY": "test_proxy_headers::test_behind_a_proxy_the_proxys_entry_counts",
    "CORS_ORIGINS": "test_operation::test_browsers_of_named_origins_may_call",
    "OPENAI_COMPATIBLE_API_KEY": "test_fallback::test_the_providers_key_is_never_told",
    "OPENAI_COMPATIBLE_BASE_URL": "test_guide_variables::test_the_provider_is_asked_for_its_model",
    "OPENAI_COMPATIBLE_DEFAULT_MODEL": "test_guide_variables::test_the_provider_is_asked_for_its_model",
    "PREFERRED_PROVIDER": "test_provider_choice::test_the_preferred_provider_is_asked_first",
    "ENABLE_PROVIDER_FALLBACK": "test_fallback::test_fallback_can_be_turned_off",
    "DATABASE_URL": "test_keys::test_keys_that_were_seen_go_on_without_the_database",
    "DATABASE_POOL_SIZE": "test_guide_variables::test_the_databases_connections_are_bounded",
    "DATABASE_MAX_OVERFLOW": "test_guide_variables::test_the_databases_connections_are_bounded",
    "REDIS_URL": "test_cache::test_two_replicas_share_the_cache_in_redis",
    "REDIS_CACHE_ENABLED": "test_cache::test_the_cache_can_be_turned_off",
    "CACHE_TTL": "test_cache::test_entries_end_after_cache_ttl",
    "CACHE_COMPRESSION": "test_cache::test_an_entry_is_readable_whatever_compression_is_now",
    "MONGODB_URL": "test_sessions_api::test_sessions_in_mongodb",
    "MULTI_WRITER_ENABLED": "test_guide_variables::test_writers_are_served_where_they_are_on",
    "TOOL_CALLING_ENABLED": "test_tool_loop::test_without_tools_the_answer_is_the_providers",
    "MAX_TOOLS_PER_QUERY": "test_guide_variables::test_the_calls_of_one_question_are_counted",
    "TOOL_EXECUTION_TIMEOUT": "test_tool_loop::test_a_tool_that_fails_is_told_to_the_model",
    "SEARXNG_URL": "test_guide_variables::test_searxng_is_offered_where_it_is_on",
    "SEARXNG_TOOL_ENABLED": "test_guide_variables::test_searxng_is_offered_where_it_is_on",
    "FIRECRAWL_DEPLOYMENT_MODE": "test_guide_variables::test_the_firecrawl_of_the_mode_is_asked",
    "FIRECRAWL_DOCKER_URL": "test_guide_variables::test_the_firecrawl_of_the_mode_is_asked",
    "FIRECRAWL_TOOL_ENABLED": "test_guide_variables::test_firecrawl_is_offered_where_it_is_on",
    "JINA_RERANKER_URL": "test_tool_loop::test_the_reranker_orders_results",
    "JINA_RERANKER_TOOL_ENABLED": "test_tool_loop::test_the_reranker_orders_results",
    "PROMETHEUS_ENABLED": "test_operation::test_prometheus_can_be_turned_off",
    "PROMETHEUS_PORT": "test_operation::test_metrics_may_have_a_port_of_their_own",
    "METRICS_COLLECTION_ENABLED": "test_operation::test_metrics_can_be_turned_off",
    "RATE_LIMIT_ENABLED": "test_rate_limit::test_limits_can_be_turned_off",
    "RATE_LIMIT_REQUESTS": "test_rate_limit::test_a_client_learns_how_it_stands",
    "RATE_LIMIT_WINDOW": "test_rate_limit::test_a_client_learns_how_it_stands",
    "GRADIO_ENABLED": "test_chat_page::test_a_person_asks_and_comes_back_later",
    "GRADIO_HOST": "test_chat_page::test_a_person_asks_and_comes_back_later",
    "GRADIO_PORT": "test_chat_page::test_a_person_asks_and_comes_back_later",
}
"""The test that shows what each variable does, as module and name."""


@pytest.mark.parametrize("name", GUIDE)
def test_what_a_variable_does_is_shown_by_a_test(name: str) -> None:
    """That test exists, in a module that sets the variable; whether it holds, it says itself."""
    module, _, function = SHOWN_BY[name].partition("::")
    source = (Path(__file__).parent / f"{module}.py").read_text()
    functions = {
        each.name for each in ast.parse(source).body if isinstance(each, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    assert function in functions
    assert name in source or name.lower() in source


def test_no_other_variable_is_said_to_be_the_guides() -> None:
    assert set(SHOWN_BY) == set(GUIDE)


@pytest.mark.parametrize(("secret", "status"), [("first-key-0123456789", 200), ("other-key-0123456789", 404)])
async def test_the_secret_key_decides_who_a_client_is(
    upstream: Upstream, tmp_path: Path, secret: str, status: int
) -> None:
    common = {"data_dir": str(tmp_path), "api_keys": "client"}
    key = {"headers": {"authorization": "Bearer client"}}
    async with run_runtime(upstream, secret_key="first-key-0123456789", **common) as runtime:
        await call(runtime, "PUT", "/helper", json={"prompt": "Help."}, **key)
    async with run_runtime(upstream, secret_key=secret, **common) as runtime:
        assert (await call(runtime, "GET", "/helper", **key)).status == status


async def test_the_provider_is_asked_for_its_model(upstream: Upstream) -> None:
    settings = {"openai_compatible_base_url": upstream.url, "openai_compatible_default_model": "chosen"}
    async with run_runtime(**settings) as runtime:
        assert (await runtime.chat(model="default")).headers["x-provider"] == GUIDE["PREFERRED_PROVIDER"]
    assert upstream.requests[0]["model"] == "chosen"


async def test_the_databases_connections_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "DATABASE_POOL_SIZE", "DATABASE_MAX_OVERFLOW"):
        monkeypatch.setenv(name, GUIDE[name])
    pool: Any = engine_for(Settings.load()).pool
    assert (pool.size(), pool._max_overflow) == (20, 30)


@pytest.mark.parametrize(("on", "status"), [(True, 200), (False, 404)])
async def test_writers_are_served_where_they_are_on(upstream: Upstream, on: bool, status: int) -> None:
    async with run_runtime(upstream, multi_writer_enabled=on) as runtime:
        assert (await runtime.get("/v1/writers")).status == status


async def test_the_calls_of_one_question_are_counted(upstream: Upstream) -> None:
    asked = calls(*((f"call_{number}", "web_search", {"query": str(number)}) for number in range(4)))
    async with run_json_server() as searxng:
        searxng.answer("GET", "/search", {"results": []})
        async with run_runtime(upstream, searxng_url=searxng.url, max_tools_per_query=2) as runtime:
            upstream.script = [asked, says("well")]
            steps = (await runtime.chat()).json["assistant"]["steps"]
    assert [step["status"] for step in steps] == ["done", "done", "refused", "refused"]
    assert len(searxng.requests) == 2


async def offered(upstream: Upstream, **settings: Any) -> list[str]:
    """Give the tools that the model is offered."""
    async with run_runtime(upstream, **settings) as runtime:
        await runtime.chat()
    return [tool["function"]["name"] for tool in upstream.requests[-1].get("tools", ())]


async def test_searxng_is_offered_where_it_is_on(upstream: Upstream) -> None:
    url = GUIDE["SEARXNG_URL"]
    assert await offered(upstream, searxng_url=url) == ["web_search"]
    assert await offered(upstream, searxng_url=url, searxng_tool_enabled=False) == []
    assert await offered(upstream) == []


async def test_firecrawl_is_offered_where_it_is_on(upstream: Upstream) -> None:
    url = GUIDE["FIRECRAWL_DOCKER_URL"]
    assert "scrape_page" in await offered(upstream, firecrawl_docker_url=url, firecrawl_tool_enabled=True)
    assert await offered(upstream, firecrawl_docker_url=url) == []


@pytest.mark.parametrize("mode", ["docker", "cloud"])
async def test_the_firecrawl_of_the_mode_is_asked(upstream: Upstream, mode: str) -> None:
    async with run_json_server() as docker, run_json_server() as cloud:
        settings = {
            "firecrawl_deployment_mode": mode,
            "firecrawl_docker_url": docker.url,
            "firecrawl_cloud_url": cloud.url,
            "firecrawl_api_key": "fc-0123456789",
            "firecrawl_tool_enabled": True,
        }
        async with run_runtime(upstream, **settings) as runtime:
            await ask(upstream, runtime, "web_search", query="q")
    assert [bool(server.requests) for server in (docker, cloud)] == [mode == "docker", mode == "cloud"]


def test_the_guides_environment_is_a_working_one(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in GUIDE.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("API_KEYS", API_KEYS)
    settings = Settings.load()
    told = {name: told_as(getattr(settings, name.lower())) for name in GUIDE}
    assert told == GUIDE


def told_as(value: object) -> str:
    """Write a setting as an environment has it."""
    if hasattr(value, "get_secret_value"):
        value = value.get_secret_value()
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return str(value).lower() if isinstance(value, bool) else str(value)


@pytest.mark.parametrize("name", [name for name, value in GUIDE.items() if value in {"true", "false"}])
def test_a_switch_is_on_or_off(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "perhaps")
    with pytest.raises(SettingsError, match=name):
        Settings.load()
