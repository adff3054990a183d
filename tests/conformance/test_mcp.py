"""The suite of the Model Context Protocol: its scenarios for clients, but those of OAuth, which the runtime has not."""

import asyncio
import re
import sys
from pathlib import Path

import pytest

from tests.support import npm

HERE = Path(__file__).parent
SCENARIOS = ["elicitation-sep1034-client-defaults", "initialize", "sse-retry", "tools_call"]
ROOT = HERE.parents[1]


async def suite(*arguments: str) -> tuple[int, str]:
    """Run the suite's program; gives its exit code and what it writes."""
    modules = await asyncio.to_thread(npm.packages, HERE / "locks" / "mcp")
    program = modules / "@modelcontextprotocol" / "conformance" / "dist" / "index.js"
    process = await asyncio.create_subprocess_exec(
        npm.node(),
        program,
        *arguments,
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    output, _ = await process.communicate()
    return process.returncode or 0, output.decode()


async def test_every_scenario_for_clients_is_here_but_oauths() -> None:
    _, output = await suite("list")
    listed = re.findall(r"^  - (\S+)", output.partition("Client scenarios")[2], re.MULTILINE)
    assert sorted(each for each in listed if not each.startswith("auth/")) == SCENARIOS


@pytest.mark.parametrize("scenario", SCENARIOS)
async def test_a_scenario_passes(scenario: str, tmp_path: Path) -> None:
    command = f"{sys.executable} -m tests.conformance.mcp_client"
    options = ("--command", command, "--scenario", scenario, "--timeout", "240000", "-o", str(tmp_path))
    status, output = await suite("client", *options)
    assert status == 0, output
    assert re.search(r"Passed: (\d+)/\1, 0 failed, 0 warnings", output), output
