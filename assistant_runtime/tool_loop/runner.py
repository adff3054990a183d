"""Run tools for one question, within one budget of calls, time and text.

Nothing that a tool does ends the turn: what fails, takes too long or is too much is told to the model, which can then
answer with what it has.
"""

import asyncio
import time
from collections.abc import AsyncGenerator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
import structlog

from assistant_runtime.ending import end
from assistant_runtime.errors import ApiError, ToolError
from assistant_runtime.providers.base import Payer
from assistant_runtime.security.audit import note
from assistant_runtime.telemetry import Metrics
from assistant_runtime.tool_loop.fence import cut, fenced
from assistant_runtime.tool_loop.record import Record, Step
from assistant_runtime.tools.base import Tool, ToolCall, ToolResult

MAX_ERROR_CHARACTERS = 500
"""Enough for a model to see what to do differently."""

NO_CALLS_LEFT = "not run: the limit of {limit} tool calls for one question is reached. Answer with what you have."
NO_TIME_LEFT = "not run: the time for tools is used up. Answer with what you have."
REPEATED = "not run again: this very call was made before, and its result is above. Answer, or call differently."


@dataclass(frozen=True, slots=True)
class Limits:
    """What one question may use."""

    calls: int
    call_seconds: float
    total_seconds: float
    total_bytes: int


@dataclass(frozen=True, slots=True)
class Asked:
    """A call that the model asks for, as it stands in its message."""

    id: str
    name: str
    arguments: str
    """JSON, as the model wrote it."""


@dataclass(frozen=True, slots=True)
class Environment:
    """What every question's runner shares."""

    limits: Limits
    metrics: Metrics
    fence_key: bytes


class Runner:
    """Runs one question's tool calls.

    Parameters
    ----------
    environment
        The limits, and where calls are recorded.
    tenant, request_id, account
        For whom tools run, and who pays for models that they ask.
    record
        Gets a step for each call, and the sources.
    """

    def __init__(self, environment: Environment, tenant: str, request_id: str, account: Payer, record: Record) -> None:
        limits = environment.limits
        self._limits = limits
        self._metrics = environment.metrics
        self._key = environment.fence_key
        self._tenant = tenant
        self._request_id = request_id
        self._account = account
        self._record = record
        self._calls, self._seconds, self._bytes = limits.calls, limits.total_seconds, limits.total_bytes
        self._made: set[tuple[str, bytes]] = set()
        self.answers: dict[str, str] = {}
        """What the model is told, by the call's id."""

    @property
    def exhausted(self) -> bool:
        """Whether no further call can be made."""
        return self._calls <= 0 or self._seconds <= 0 or self._bytes <= 0

    async def run(
        self, asked: Sequence[Asked], tools: Mapping[str, Tool], agent: str = ""
    ) -> AsyncGenerator[Step, None]:
        """Run calls side by side; yields each step when it begins and when it ends, and fills `answers`."""
        started = time.perf_counter()
        steps = [(Step("tool", call.id, call.name, _shown(call.arguments), agent=agent), call) for call in asked]
        self._record.steps += [step for step, _ in steps]
        allowed = [(step, call) for step, call in steps if self._admit(step, call, tools)]
        for step, _ in steps:
            yield step
        share = self._bytes // max(1, len(allowed))
        seconds = min(self._limits.call_seconds, self._seconds)
        tasks = [
            asyncio.create_task(  # noqa: TID251 - a request ends it
                self._call(step, call, tools[call.name], seconds, share)
            )
            for step, call in allowed
        ]
        results: dict[str, ToolResult] = {}
        try:
            for task in asyncio.as_completed(tasks):
                step, result = await task
                results[step.id] = result
                yield step
        finally:
            await end(*tasks)
        self._seconds -= time.perf_counter() - started
        # In the order of the calls, so that the sources' numbers do not depend on who was faster.
        for step, call in allowed:
            self._tell(call, results[step.id])

    def _admit(self, step: Step, call: Asked, tools: Mapping[str, Tool]) -> bool:
        """Whether a call is run; one that is not is answered here."""
        key = (call.name, _canonical(call.arguments))
        reason = ""
        if call.name not in tools:
            reason = f"not run: there is no tool {call.name!r}. There are: {', '.join(sorted(tools)) or 'none'}."
            self._calls -= 1
        elif key in self._made:
            reason = REPEATED
            self._calls -= 1
        elif self._calls <= 0:
            reason = NO_CALLS_LEFT.format(limit=self._limits.calls)
        elif self._seconds <= 0 or self._bytes <= 0:
            reason = NO_TIME_LEFT
        if reason:
            step.end("refused", reason)
            self.answers[call.id] = reason
            return False
        self._made.add(key)
        self._calls -= 1
        return True

    async def _call(
        self, step: Step, call: Asked, tool: Tool, seconds: float, max_bytes: int
    ) -> tuple[Step, ToolResult]:
        """Run one call to its end, whatever that is."""
        deadline = asyncio.get_running_loop().time() + seconds
        kind = ""
        try:
            arguments = _parsed(call.arguments)
            async with asyncio.timeout_at(deadline):
                call_ = ToolCall(self._tenant, self._request_id, self._account, deadline, max_bytes)
                result = await tool.run(arguments, call_)
            result = ToolResult(cut(result.text, max_bytes), result.sources)
            step.end("done")
        except TimeoutError:
            kind, result = "timeout", self._failed(step, f"no answer within {seconds:g} seconds")
        except (ToolError, ApiError) as error:
            kind, result = "tool_error", self._failed(step, str(error)[:MAX_ERROR_CHARACTERS])
        except Exception:  # noqa: BLE001 - a tool's bug must not end the turn
            structlog.get_logger(__name__).exception("tool_failed", tool=call.name, request_id=self._request_id)
            kind, result = "internal_error", self._failed(step, "an internal error of the tool")
        self._metrics.tool_executed(call.name, step.seconds, kind)
        note("tool_call", tool=call.name, seconds=round(step.seconds, 3), error=kind)
        return step, result

    def _failed(self, step: Step, reason: str) -> ToolResult:
        step.end("failed", reason)
        return ToolResult(f"The tool failed: {reason}")

    def _tell(self, call: Asked, result: ToolResult) -> None:
        text = self._record.add_sources(result.text, result.sources)
        self._bytes -= len(text.encode())
        self.answers[call.id] = fenced(call.name, text, self._key)


def _parsed(arguments: str) -> dict[str, Any]:
    try:
        parsed = orjson.loads(arguments or "{}")
    except orjson.JSONDecodeError as error:
        raise ToolError(f"the arguments are not JSON: {error}") from None
    if parsed is None:
        return {}
    if not isinstance(parsed, dict):
        raise ToolError("the arguments must be a JSON object")
    return parsed


def _shown(arguments: str) -> Any:
    try:
        return orjson.loads(arguments or "{}")
    except orjson.JSONDecodeError:
        return arguments


def _canonical(arguments: str) -> bytes:
    try:
        return orjson.dumps(_shown(arguments), option=orjson.OPT_SORT_KEYS)
    except orjson.JSONEncodeError:
        # Nested deeper than it writes, or with half a character.
        return arguments.encode("utf-8", "surrogatepass")
