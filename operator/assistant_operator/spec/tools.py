"""Tools and agents in the spec."""

from typing import Annotated

from pydantic import Field

from assistant_operator.spec.base import CertificateKeyRef, Model, SecretKeyRef, certificates_need_tls, map_list
from assistant_operator.spec.values import URL, TextSize, Timeout

ToolName = Annotated[str, Field(min_length=1, max_length=64, pattern="^[A-Za-z0-9_.-]+$")]
OfferedName = Annotated[str, Field(min_length=1, max_length=64, pattern="^[A-Za-z0-9_-]+$")]
"""A tool's name as models see it, which of an MCP server's is `<server>_<tool>` with underscores for dots."""
McpName = Annotated[str, Field(min_length=1, max_length=24, pattern="^[a-z0-9]([a-z0-9-]*[a-z0-9])?$")]
AgentName = Annotated[str, Field(min_length=1, max_length=48, pattern="^[a-z0-9]([a-z0-9_-]*[a-z0-9])?$")]
AllowedHost = Annotated[
    str,
    Field(min_length=1, max_length=253, pattern="^([*][.])?[a-z0-9]([a-z0-9.-]*[a-z0-9])?$|^[0-9a-f.:]+/[0-9]{1,3}$"),
]


class McpServer(Model):
    """An MCP server, over streamable HTTP."""

    rules = (certificates_need_tls("url", "spec.tools.mcpServers.url"),)

    name: McpName
    """Name that stands before those of its tools."""
    url: URL
    """Address of the server's endpoint, such as https://mcp.example.com/mcp."""
    tools: Annotated[list[ToolName], Field(min_length=1, max_length=64)] | None = None
    """Tools to offer. Default: all of the server's."""
    token_from: SecretKeyRef | None = None
    """Secret key that holds the bearer token, if the server wants one."""
    ca_from: CertificateKeyRef | None = None
    """Key with the certificates (PEM) to trust for the server. Default: those that the image trusts."""
    accept_defaults: bool = False
    """Whether a form that a tool asks back with is answered with its defaults; nobody is there to be asked."""


class Tools(Model):
    """Tools that the runtime runs for the model."""

    enabled: bool = True
    """Whether models are offered the tools of the servers that the assistant has, such as web search."""
    max_per_query: Annotated[int, Field(ge=1, le=100)] = 3
    """Tool calls for one question; further ones are refused to the model."""
    timeout: Timeout = "30s"
    """Time that one call may take."""
    total_timeout: Timeout = "2m"
    """Time that all calls of one question may take together."""
    total_size: TextSize = "128Ki"
    """Text that all calls of one question may give to the model together."""
    fetch_pages: bool = False
    """Whether models may read public web pages where Firecrawl is off."""
    allowed_hosts: Annotated[list[AllowedHost], Field(max_length=64)] = []
    """Hosts (docs.corp.example, *.corp.example) and networks that pages are fetched from though they aren't public."""
    mcp_servers: Annotated[list[McpServer], Field(max_length=16, json_schema_extra=map_list("name"))] = []
    """MCP servers whose tools are offered."""


class Agent(Model):
    """A named agent, asked for as the model `agent/NAME`."""

    name: AgentName
    """Name of the agent."""
    description: Annotated[str, Field(max_length=1024)] = ""
    """Tells other agents when to hand over to this one."""
    prompt: Annotated[str, Field(min_length=1, max_length=16384)]
    """System prompt."""
    model: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    """Model. Default: the preferred provider's."""
    tools: Annotated[list[OfferedName], Field(max_length=64)] | None = None
    """Tools that it may use. Default: all; empty: none."""
    handoffs: Annotated[list[AgentName], Field(max_length=16)] = []
    """Agents that it may hand over to."""
    max_steps: Annotated[int, Field(ge=1, le=100)] = 10
    """How often models are asked in one turn; the last time without tools."""
