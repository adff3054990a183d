"""Programs that people ask this API with, each run with a home of its own and cut off from the internet."""

import asyncio
import json
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from devcluster import venvs
from devcluster.errors import DevclusterError
from tests.support import npm
from tests.support.server import free_port
from tests.support.tool_calls import Call, calls, says
from tests.support.upstream import Upstream

HERE = Path(__file__).parent
PATIENCE_SECONDS = 240.0
"""Far more than any of them needs on a loaded machine; one that hangs fails its test."""

TEXT = "Paris is the capital of France."


@dataclass
class Answers:
    """A model: it calls the tools that it is told to, tells what they gave, and otherwise says one sentence.

    It goes by what it is asked, never by the order of requests: agents ask for titles and summaries in between.
    """

    calls: list[Call] = field(default_factory=list)
    """Calls of one answer after another, each as soon as its tool is offered."""
    structured: Any = None
    """What it answers where a form is asked for."""

    async def __call__(self, upstream: Upstream, request: web.Request, body: dict[str, Any]) -> web.StreamResponse:
        offered = {tool["function"]["name"] for tool in body.get("tools") or ()}
        last = body["messages"][-1]
        if last["role"] == "tool":
            behave = says(f"The tool said: {last['content']}")
        elif self.calls and self.calls[0][1] in offered:
            behave = calls(self.calls.pop(0))
        elif (body.get("response_format") or {}).get("type") == "json_schema":
            behave = says(json.dumps(self.structured))
        else:
            behave = says(TEXT)
        return await behave(upstream, request, body)


@dataclass
class Client:
    """Runs one client against the runtime.

    `home` is its folder, `provider` records what reaches the model.
    """

    url: str
    home: Path
    provider: Upstream
    answers: Answers

    async def python(self, program: str, lock: str = "openai-clients") -> Any:
        """Run a Python program of this folder; gives the JSON that it writes."""
        try:
            folder = await asyncio.to_thread(venvs.ensure, HERE / "locks" / lock / "requirements.txt")
        except DevclusterError as error:
            pytest.fail(f"the client can't be installed: {error}")
        return json.loads(
            await self.run(folder / "bin" / "python", "-W", "ignore", HERE / "programs" / program, self.url)
        )

    async def javascript(self, program: str) -> Any:
        """Run a JavaScript program of this folder; gives the JSON that it writes."""
        modules = await self.npm()
        # Modules are looked for where the program is.
        (self.home / "node_modules").symlink_to(modules)
        script = shutil.copy(HERE / "programs" / program, self.home)
        return json.loads(await self.run(npm.node(), script, self.url))

    async def npm(self) -> Path:
        """Give the folder of npm's packages."""
        return await asyncio.to_thread(npm.packages, HERE / "locks" / "npm-clients")

    async def run(self, program: Path, *arguments: Any, cwd: Path | None = None, **variables: str) -> str:
        """Run a program to its end; gives what it writes to standard output."""
        nobody = f"http://127.0.0.1:{free_port()}"
        environment = {
            "PATH": f"{npm.node().parent}:{os.defpath}",
            "HOME": str(self.home),
            "LANG": "C.UTF-8",
            "OPENAI_API_KEY": "sk-none",
            "OPENAI_BASE_URL": self.url,
            "LITELLM_LOCAL_MODEL_COST_MAP": "true",
            # Whatever goes elsewhere than to this machine fails at once.
            "HTTP_PROXY": nobody,
            "HTTPS_PROXY": nobody,
            "NO_PROXY": "127.0.0.1,localhost",
            **variables,
        }
        process = await asyncio.create_subprocess_exec(
            program,
            *map(str, arguments),
            cwd=cwd or self.home,
            env=environment,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        try:
            async with asyncio.timeout(PATIENCE_SECONDS):
                output, errors = await process.communicate()
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
        assert process.returncode == 0, f"{program.name}: {output.decode()[-3000:]}\n{errors.decode()[-6000:]}"
        return output.decode()
