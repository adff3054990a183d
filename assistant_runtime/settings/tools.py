"""Tools that the runtime runs for a model, and the servers behind them; the deployment guide's names first."""

import ipaddress
import os
import re
from collections.abc import Iterable
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, SecretStr, TypeAdapter, ValidationError
from pydantic_settings import NoDecode

from assistant_runtime.settings.providers import ProviderKey, provider_key
from assistant_runtime.settings.values import (
    CertificatesFile,
    Group,
    StringList,
    TimeoutSeconds,
    http_url,
    lower,
    problem_lines,
)

MCP_NAME = r"^[a-z0-9]([a-z0-9-]{0,22}[a-z0-9])?$"
"""Stands before the names of the server's tools, which have 64 characters in all."""

HOST = re.compile(r"^(\*\.)?[a-z0-9]([a-z0-9.-]{0,251}[a-z0-9])?$")


def _server_url(value: Any) -> Any:
    return http_url(value, "http://searxng:8080")


def _mcp_url(value: Any) -> Any:
    return http_url(value, "https://mcp.example.com/mcp")


ServerURL = Annotated[str, BeforeValidator(_server_url)]


class McpServerSettings(BaseModel):
    """One MCP server, over streamable HTTP."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: Annotated[str, Field(pattern=MCP_NAME)]
    url: Annotated[str, BeforeValidator(_mcp_url)]
    tools: tuple[str, ...] | None = None
    token_env: str | None = None
    ca_file: CertificatesFile = None
    accept_defaults: bool = False
    """Whether a form that a tool asks back with is answered with its defaults."""

    @property
    def token(self) -> SecretStr | None:
        """The bearer token, read from the variable that `token_env` names."""
        if self.token_env is None:
            return None
        return SecretStr(provider_key(os.environ.get(self.token_env, "")) or "")


_MCP_SERVERS: TypeAdapter[tuple[McpServerSettings, ...]] = TypeAdapter(tuple[McpServerSettings, ...])


def _parse_mcp_servers(value: Any) -> Any:
    if not isinstance(value, str):
        return value
    try:
        return _MCP_SERVERS.validate_json(value) if value.strip() else ()
    except ValidationError as error:
        raise ValueError(f"write a JSON list of MCP servers; {'; '.join(problem_lines(error))}") from None


McpServerList = Annotated[tuple[McpServerSettings, ...], NoDecode, BeforeValidator(_parse_mcp_servers)]


class ToolsGroup(Group):
    """Tools that the runtime runs for a model."""

    tool_calling_enabled: bool = Field(
        default=True,
        description="Offer the configured tools to the model. Without any configured tool, it has no effect.",
    )
    max_tools_per_query: int = Field(
        3, ge=1, le=100, description="Tool calls for one question; further calls are refused."
    )
    tool_execution_timeout: TimeoutSeconds = Field(30.0, description="Seconds that one tool call may take.")
    tool_total_timeout: TimeoutSeconds = Field(
        120.0, description="Seconds that all tool calls of one question may take together."
    )
    tool_total_bytes: int = Field(
        128 * 1024,
        ge=1024,
        le=16 * 1024 * 1024,
        description="Bytes of text that all tool calls of one question may return together.",
    )
    fetch_tool_enabled: bool = Field(
        default=False, description="Offer `fetch_page`, which reads one public web page, if Firecrawl is off."
    )
    fetch_allowed_hosts: StringList = Field(
        (),
        description=(
            "Hosts (`docs.corp.example`, `*.corp.example`) and networks (`10.1.0.0/16`) that pages may be "
            "fetched from even if they are not public, comma-separated."
        ),
    )

    searxng_url: ServerURL | None = Field(None, description="Base URL of SearXNG, for web search.")
    searxng_ca_file: CertificatesFile = Field(None, description="Certificates (PEM) to trust for SearXNG.")
    searxng_tool_enabled: bool = Field(default=True, description="Offer `web_search`, if SEARXNG_URL is set.")

    firecrawl_deployment_mode: Annotated[Literal["docker", "cloud"], BeforeValidator(lower)] = Field(
        "docker", description="`docker`: the server at FIRECRAWL_DOCKER_URL; `cloud`: the one at FIRECRAWL_CLOUD_URL."
    )
    firecrawl_docker_url: ServerURL | None = Field(None, description="Base URL of your own Firecrawl.")
    firecrawl_cloud_url: ServerURL = Field("https://api.firecrawl.dev", description="Base URL of Firecrawl's cloud.")
    firecrawl_api_key: ProviderKey = Field(None, description="Firecrawl's key; the cloud requires one.")
    firecrawl_ca_file: CertificatesFile = Field(None, description="Certificates (PEM) to trust for Firecrawl.")
    firecrawl_tool_enabled: bool = Field(
        default=False, description="Offer `scrape_page` and `map_site`, and `web_search` if SearXNG is off."
    )

    jina_reranker_url: ServerURL | None = Field(
        None,
        description="Base URL of a server with Jina's rerank API; /v1/rerank is appended unless the URL ends in it.",
    )
    jina_reranker_api_key: ProviderKey = Field(None, description="The reranker's key.")
    jina_reranker_model: str = Field("jina-reranker-v1-base-en", min_length=1, description="The reranker's model.")
    jina_reranker_ca_file: CertificatesFile = Field(None, description="Certificates (PEM) to trust for the reranker.")
    jina_reranker_tool_enabled: bool = Field(
        default=False, description="Sort search results and retrieved passages with the reranker."
    )

    mcp_servers: McpServerList = Field(
        (),
        description=(
            'MCP servers whose tools are offered, a JSON list of {"name", "url", "tools", "token_env", '
            '"ca_file", "accept_defaults"}. `tools` names the tools to offer (without it, all), `token_env` '
            "the environment variable with a bearer token, `ca_file` a file of certificates (PEM) to trust. "
            "`accept_defaults` answers a form that a tool sends (elicitation) with the form's defaults."
        ),
    )

    @property
    def firecrawl_url(self) -> str | None:
        """The Firecrawl in use, or None."""
        if self.firecrawl_deployment_mode == "cloud":
            return self.firecrawl_cloud_url
        return self.firecrawl_docker_url

    def problems(self) -> Iterable[str]:
        """Say what does not fit together."""
        if self.firecrawl_tool_enabled and self.firecrawl_url is None:
            yield "FIRECRAWL_DOCKER_URL: set it, or FIRECRAWL_DEPLOYMENT_MODE=cloud, or FIRECRAWL_TOOL_ENABLED=false"
        if self.firecrawl_tool_enabled and self.firecrawl_deployment_mode == "cloud" and not self.firecrawl_api_key:
            yield "FIRECRAWL_API_KEY: set it, Firecrawl's cloud answers nobody without a key"
        if self.jina_reranker_tool_enabled and self.jina_reranker_url is None:
            yield "JINA_RERANKER_URL: set it, or JINA_RERANKER_TOOL_ENABLED=false"
        for entry in self.fetch_allowed_hosts:
            if not _is_host_or_network(entry):
                yield f"FETCH_ALLOWED_HOSTS: {entry!r} is no host, no *.domain and no network such as 10.1.0.0/16"
        yield from _mcp_problems(self.mcp_servers)


def _is_host_or_network(entry: str) -> bool:
    try:
        ipaddress.ip_network(entry, strict=False)
    except ValueError:
        return bool(HOST.match(entry.lower())) and not re.match(r"^[\d./:]+$", entry)
    return True


def _mcp_problems(servers: tuple[McpServerSettings, ...]) -> Iterable[str]:
    names = [server.name for server in servers]
    if len(names) != len(set(names)):
        yield f"MCP_SERVERS: give each server a name of its own; these are in use: {', '.join(sorted(names))}"
    for server in servers:
        try:
            missing = server.token is not None and not server.token.get_secret_value()
        except ValueError as error:
            yield f"MCP_SERVERS: {server.token_env}: {error}"
            continue
        if missing:
            yield f"MCP_SERVERS: set {server.token_env}, which token_env of {server.name} names"
