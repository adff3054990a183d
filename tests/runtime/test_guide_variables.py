"""Every variable of the deployment guide's environment works under its name, typed here as the guide has it."""

import pytest

from assistant_runtime.errors import SettingsError
from assistant_runtime.settings import Settings

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
