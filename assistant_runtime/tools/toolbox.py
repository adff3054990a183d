"""Every tool that can be called now, by name."""

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from typing import Self

from assistant_runtime.supervisor import Work
from assistant_runtime.tools.base import Tool, Toolset, Watched


class Toolbox:
    """Tools of every kind; `async with` opens and closes what they need.

    Parameters
    ----------
    toolsets
        Where two have a tool of the same name, the first one's counts.
    """

    def __init__(self, toolsets: Sequence[Toolset] = ()) -> None:
        self._toolsets = tuple(toolsets)
        self._stack = AsyncExitStack()

    async def __aenter__(self) -> Self:
        for toolset in self._toolsets:
            await self._stack.enter_async_context(toolset)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._stack.aclose()

    @property
    def empty(self) -> bool:
        """Whether there is nothing that could ever be offered."""
        return not self._toolsets

    def checks(self) -> Mapping[str, Watched]:
        """Give what /ready says of the servers behind the tools, by the check's name."""
        return {toolset.check_name: toolset for toolset in self._toolsets if isinstance(toolset, Watched)}

    def works(self) -> Mapping[str, Work]:
        """Give what watches the servers behind the tools, by name."""
        return {name: watched.watch for name, watched in self.checks().items()}

    def tools(self) -> Mapping[str, Tool]:
        """Give the tools that can be called now."""
        return {tool.name: tool for toolset in reversed(self._toolsets) for tool in toolset.tools()}


class SingleTools:
    """Tools that need no opening, as a toolset."""

    def __init__(self, *tools: Tool) -> None:
        self._tools = tools

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        """Nothing is open."""

    def tools(self) -> Sequence[Tool]:
        """Give the tools."""
        return self._tools
