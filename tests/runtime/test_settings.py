"""Settings: read from the environment, frozen, and refused with a message that names the variable and the remedy."""

import json
import os
import re
import subprocess
import sys

import pytest
from pydantic import SecretStr, ValidationError

from assistant_runtime.errors import SettingsError
from assistant_runtime.logs import log_format
from assistant_runtime.settings import Settings
from assistant_runtime.settings.reference import page
from assistant_runtime.stores.redis_client import redis_connection
from tests.support.runtime import clean_environment

PROVIDER = {
    "OPENAI_COMPATIBLE_BASE_URL": "https://openrouter.ai/api/v1",
    "OPENAI_COMPATIBLE_DEFAULT_MODEL": "anthropic/claude-3.5-sonnet",
}
PRODUCTION = {**PROVIDER, "ENVIRONMENT": "production", "SECRET_KEY": "s" * 32, "API_KEYS": "one-key"}


def load(monkeypatch: pytest.MonkeyPatch, **variables: str) -> Settings:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    return Settings.load()


def test_the_environment_is_read_by_name(monkeypatch: pytest.MonkeyPatch) -> None:
    settings = load(
        monkeypatch,
        **PRODUCTION | {"API_KEYS": "one, two\nthree\n", "CORS_ORIGINS": "https://a.example,https://b.example"},
        LOG_LEVEL="warning",
        CACHE_TTL="60",
        BEHIND_PROXY="true",
    )
    assert [key.get_secret_value() for key in settings.api_keys] == ["one", "two", "three"]
    assert settings.cors_origins == ("https://a.example", "https://b.example")
    assert (settings.log_level, settings.cache_ttl, settings.behind_proxy) == ("WARNING", 60, True)


def test_nothing_set_is_a_laptop() -> None:
    settings = Settings.load()
    assert settings.environment == "development"
    assert settings.providers_in_order == ()
    assert settings.redis_url is None


def test_empty_variables_count_as_not_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kubernetes renders an optional value that is missing as an empty one."""
    names = [name.upper() for name in Settings.model_fields]
    assert load(monkeypatch, **dict.fromkeys(names, "")).model_dump() == Settings().model_dump()


@pytest.mark.parametrize(
    ("environment", "given", "used"),
    [
        ("development", "", "console"),
        ("staging", "", "json"),
        ("development", "json", "json"),
        ("staging", "console", "console"),
    ],
)
def test_the_log_format_follows_the_environment(
    monkeypatch: pytest.MonkeyPatch, environment: str, given: str, used: str
) -> None:
    assert log_format(load(monkeypatch, ENVIRONMENT=environment, LOG_FORMAT=given)) == used


def test_further_providers_take_their_key_from_the_variable_they_name(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = [
        {"name": "backup", "base_url": "http://b/v1/", "default_model": "m", "timeout": 5, "api_key_env": "B_KEY"}
    ]
    settings = load(
        monkeypatch, **PROVIDER, PROVIDERS=json.dumps(listed), B_KEY="b-secret", PREFERRED_PROVIDER="backup"
    )
    preferred, first = settings.providers_in_order
    assert (preferred.name, preferred.base_url, preferred.timeout) == ("backup", "http://b/v1", 5)
    assert preferred.api_key == SecretStr("b-secret")
    assert (first.name, first.timeout, first.api_key) == ("openai_compatible", 600, None)


def test_a_key_from_a_file_loses_its_newline(monkeypatch: pytest.MonkeyPatch) -> None:
    listed = [{"name": "backup", "base_url": "http://b/v1", "default_model": "m", "api_key_env": "B_KEY"}]
    settings = load(
        monkeypatch, **PROVIDER, OPENAI_COMPATIBLE_API_KEY="sk-a\n", PROVIDERS=json.dumps(listed), B_KEY=" sk-b\r\n"
    )
    keys = [provider.api_key.get_secret_value() for provider in settings.providers_in_order if provider.api_key]
    assert keys == ["sk-a", "sk-b"]


def test_whatever_comes_from_a_file_loses_its_newline(monkeypatch: pytest.MonkeyPatch) -> None:
    written = {"MONGODB_URL": "mongodb://m/ai_assistant\n", "MILVUS_USERNAME": "root\n", "MILVUS_PASSWORD": "word\r\n"}
    settings = load(monkeypatch, **PROVIDER, MILVUS_URL="http://m:19530\n", **written)
    assert settings.mongodb_url == SecretStr("mongodb://m/ai_assistant")
    assert (settings.milvus_username, settings.milvus_password) == ("root", SecretStr("word"))


@pytest.mark.parametrize(
    "url",
    [
        "redis://r",
        "redis://:p%40ss@r:6379/2",
        "rediss://user:word@r:6380/0?ssl_cert_reqs=none",
        "redis://[::1]:6379/",
        "unix:///run/redis.sock?db=1",
    ],
)
def test_urls_of_redis_that_can_be_used(monkeypatch: pytest.MonkeyPatch, url: str) -> None:
    redis_connection(load(monkeypatch, REDIS_URL=url)).client.connection_pool.make_connection()


def test_settings_cant_be_changed(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ValidationError):
        Settings.load().port = 1  # type: ignore[misc]  # what mypy refuses is refused at run time too


def test_no_secret_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    secrets = {
        "SECRET_KEY": "secret-key-0123456789",
        "API_KEYS": "api-key-0123456789",
        "OPENAI_COMPATIBLE_API_KEY": "provider-key-0123456789",
        "OTEL_EXPORTER_OTLP_HEADERS": "authorization=collector-token-0123456789",
        "REDIS_URL": "redis://:redis-password@r/0",
    }
    settings = load(monkeypatch, **PROVIDER, **secrets)
    printed = f"{settings!r} {settings} {settings.providers_in_order!r} {settings.model_dump_json()}"
    for secret in ("secret-key-", "api-key-", "provider-key-", "redis-password"):
        assert secret not in printed


BAD = {
    "origin with a path": (
        {"CORS_ORIGINS": "https://a.example/"},
        "CORS_ORIGINS",
        "write origins as browsers send them",
    ),
    "origin without a scheme": (
        {"CORS_ORIGINS": "*, a.example"},
        "CORS_ORIGINS",
        "write origins as browsers send them",
    ),
    "collector headers": (
        {"OTEL_EXPORTER_OTLP_HEADERS": "authorization: sk-hidden"},
        "OTEL_EXPORTER_OTLP_HEADERS",
        "write name=value pairs",
    ),
    "a word for a number": ({"PORT": "http"}, "PORT", "integer"),
    "a service link": ({"PORT": "tcp://10.0.0.1:8000"}, "PORT", "integer"),
    "unknown environment": ({"ENVIRONMENT": "prod"}, "ENVIRONMENT", "production"),
    "negative limit": ({"RATE_LIMIT_REQUESTS": "0"}, "RATE_LIMIT_REQUESTS", "greater than or equal to 1"),
    "URL without scheme": (
        PROVIDER | {"OPENAI_COMPATIBLE_BASE_URL": "openrouter.ai"},
        "OPENAI_COMPATIBLE_BASE_URL",
        "https://",
    ),
    **{
        f"provider URL {url}": (
            PROVIDER | {"OPENAI_COMPATIBLE_BASE_URL": url},
            "OPENAI_COMPATIBLE_BASE_URL",
            "http(s)://host[:port][/path]",
        )
        for url in (
            "http://:8000/v1",
            "http://a:99999/v1",
            "http://a:port/v1",
            "http://[::1/v1",
            "http://user:sk-hidden@a/v1",
            "http://a/v1?key=sk-hidden",
            "http://a/v1#part",
            "http://a b/v1",
            "ftp://a/v1",
        )
    },
    "key of two lines": (
        PROVIDER | {"OPENAI_COMPATIBLE_API_KEY": "sk-hidden\nsk-hidden"},
        "OPENAI_COMPATIBLE_API_KEY",
        "one line of printable ASCII",
    ),
    "key with a typographic dash": (
        {
            "PROVIDERS": '[{"name": "a", "base_url": "http://a", "default_model": "m", "api_key_env": "A_KEY"}]',
            "A_KEY": "sk-hidden\u2013",
        },
        "PROVIDERS",
        "A_KEY: the key has characters",
    ),
    "no default model": (
        PROVIDER | {"OPENAI_COMPATIBLE_DEFAULT_MODEL": ""},
        "OPENAI_COMPATIBLE_DEFAULT_MODEL",
        "set the model",
    ),
    "providers not JSON": ({"PROVIDERS": "openai"}, "PROVIDERS", "JSON list"),
    "provider without URL": ({"PROVIDERS": '[{"name": "a", "default_model": "m"}]'}, "PROVIDERS", "base_url"),
    "provider with an unknown field": (
        {"PROVIDERS": '[{"name": "a", "base_url": "http://a", "default_model": "m", "api_key": "sk-hidden"}]'},
        "PROVIDERS",
        "api_key",
    ),
    "key variable missing": (
        {"PROVIDERS": '[{"name": "a", "base_url": "http://a", "default_model": "m", "api_key_env": "A_KEY"}]'},
        "PROVIDERS",
        "set A_KEY",
    ),
    "names twice": (
        PROVIDER | {"PROVIDERS": '[{"name": "openai_compatible", "base_url": "http://a", "default_model": "m"}]'},
        "PROVIDERS",
        "name of its own",
    ),
    "unknown preferred provider": (
        PROVIDER | {"PREFERRED_PROVIDER": "nobody"},
        "PREFERRED_PROVIDER",
        "openai_compatible",
    ),
    "redis URL": ({"REDIS_URL": "redis.example:6379"}, "REDIS_URL", "redis://"),
    "redis port": ({"REDIS_URL": "redis://:sk-hidden@r:99999/0"}, "REDIS_URL", "host:6379/0"),
    "redis password with a slash": ({"REDIS_URL": "redis://:sk-hidden/x@r:6379/0"}, "REDIS_URL", "host:6379/0"),
    "redis database": ({"REDIS_URL": "redis://r/first"}, "REDIS_URL", "host:6379/0"),
    "redis option": ({"REDIS_URL": "redis://r/0?retry=9"}, "REDIS_URL", "retry"),
    "short secret": ({"SECRET_KEY": "sk-hidden"}, "SECRET_KEY", "at least 16"),
    "searxng URL": ({"SEARXNG_URL": "searxng:8080"}, "SEARXNG_URL", "http(s)://host"),
    "firecrawl without URL": ({"FIRECRAWL_TOOL_ENABLED": "true"}, "FIRECRAWL_DOCKER_URL", "set it"),
    "firecrawl cloud without key": (
        {"FIRECRAWL_TOOL_ENABLED": "true", "FIRECRAWL_DEPLOYMENT_MODE": "cloud"},
        "FIRECRAWL_API_KEY",
        "set it",
    ),
    "reranker without URL": ({"JINA_RERANKER_TOOL_ENABLED": "true"}, "JINA_RERANKER_URL", "set it"),
    "certificates that are not there": ({"SEARXNG_CA_FILE": "/nowhere/ca.crt"}, "SEARXNG_CA_FILE", "can't be read"),
    "no REDIS_CA_FILE": ({"REDIS_CA_FILE": "/nowhere/ca.crt"}, "REDIS_CA_FILE", "can't be read"),
    "no MONGODB_CA_FILE": ({"MONGODB_CA_FILE": "/nowhere/ca.crt"}, "MONGODB_CA_FILE", "can't be read"),
    "no DATABASE_CA_FILE": ({"DATABASE_CA_FILE": "/nowhere/ca.crt"}, "DATABASE_CA_FILE", "can't be read"),
    "no OIDC_CA_FILE": ({"OIDC_CA_FILE": "/nowhere/ca.crt"}, "OIDC_CA_FILE", "can't be read"),
    "no MILVUS_CA_FILE": ({"MILVUS_CA_FILE": "/nowhere/ca.crt"}, "MILVUS_CA_FILE", "can't be read"),
    "a file without certificates": ({"REDIS_CA_FILE": __file__}, "REDIS_CA_FILE", "no certificates"),
    "an MCP server's certificates": (
        {"MCP_SERVERS": '[{"name": "a", "url": "https://a/mcp", "ca_file": "/nowhere/ca.crt"}]'},
        "MCP_SERVERS",
        "[0].ca_file: the file can't be read",
    ),
    "an address as allowed host": ({"FETCH_ALLOWED_HOSTS": "10.0.0.0/99"}, "FETCH_ALLOWED_HOSTS", "network such as"),
    "MCP servers not JSON": ({"MCP_SERVERS": "http://mcp/mcp"}, "MCP_SERVERS", "JSON list"),
    "MCP servers of one name": (
        {"MCP_SERVERS": '[{"name": "a", "url": "http://a/mcp"}, {"name": "a", "url": "http://b/mcp"}]'},
        "MCP_SERVERS",
        "name of its own",
    ),
    "MCP token missing": (
        {"MCP_SERVERS": '[{"name": "a", "url": "http://a/mcp", "token_env": "A_TOKEN"}]'},
        "MCP_SERVERS",
        "set A_TOKEN",
    ),
    "agents not JSON": ({"AGENTS": "helper"}, "AGENTS", "JSON list of agents"),
    "an agent without prompt": ({"AGENTS": '[{"name": "a"}]'}, "AGENTS", "[0].prompt"),
    "a handoff to nobody": (
        {"AGENTS": '[{"name": "a", "prompt": "p", "handoffs": ["b"]}]'},
        "AGENTS",
        "there is no such agent",
    ),
    "agents' file": ({"AGENTS_FILE": "/nowhere/agents.json"}, "AGENTS_FILE", "can't be read"),
    "no tool call at all": ({"MAX_TOOLS_PER_QUERY": "0"}, "MAX_TOOLS_PER_QUERY", "greater than or equal to 1"),
    "production without secret": (PRODUCTION | {"SECRET_KEY": ""}, "SECRET_KEY", "openssl"),
    "production without keys": (PRODUCTION | {"API_KEYS": " , "}, "API_KEYS", "set at least one key"),
    "production with debug": (PRODUCTION | {"DEBUG": "true"}, "DEBUG", "turn it off"),
}


@pytest.mark.parametrize(("variables", "name", "remedy"), BAD.values(), ids=BAD.keys())
def test_a_bad_value_names_its_variable_and_the_remedy(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], name: str, remedy: str
) -> None:
    with pytest.raises(SettingsError) as refused:
        load(monkeypatch, **variables)
    (line,) = str(refused.value).splitlines()
    assert line.startswith(f"{name}:")
    assert remedy in line
    assert "sk-hidden" not in line


def test_the_start_is_refused_with_one_clear_message() -> None:
    environment = clean_environment() | {"ENVIRONMENT": "production", "PORT": "8000"}
    ended = subprocess.run(
        [sys.executable, "-m", "assistant_runtime", "serve"],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 2
    assert "Traceback" not in ended.stderr
    assert "SECRET_KEY: set it in production" in ended.stderr
    assert "API_KEYS: set at least one key" in ended.stderr
    assert ended.stdout == ""


def test_the_reference_lists_every_setting_once_with_its_meaning() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)` \| .+ \| (.+) \|$", page(), flags=re.MULTILINE)
    assert sorted(rows) == sorted((name.upper(), field.description) for name, field in Settings.model_fields.items())


def test_random_secrets_differ_between_processes() -> None:
    assert Settings.load().hmac_key != Settings.load().hmac_key
    assert "SECRET_KEY" not in os.environ
