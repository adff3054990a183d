"""The loop between model and tools: ask, run what the model asks for, ask again, until it answers.

Each round is an ordinary turn, so that fallback, metrics and cache work as without tools. A call of one of the client's
own tools ends the loop: it is handed over, and whatever the model asked of the runtime in the same breath is left for
it to ask again, because its result would have no place in the client's conversation.
"""

import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import aclosing
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

from assistant_runtime.agents.base import MODEL_PREFIX, AgentDirectory
from assistant_runtime.ending import to_its_end
from assistant_runtime.errors import ApiError
from assistant_runtime.providers.dialect.asking import LeftOut
from assistant_runtime.settings.agents import Agent
from assistant_runtime.stores.history import History, Window
from assistant_runtime.tool_loop.answer import Joined, read_answer
from assistant_runtime.tool_loop.conversation import Conversation, Round, said
from assistant_runtime.tool_loop.options import FIELD, AssistantOptions
from assistant_runtime.tool_loop.record import Record, Step
from assistant_runtime.tool_loop.runner import Asked, Environment, Runner
from assistant_runtime.tool_loop.stream import RoundReader, Stitched
from assistant_runtime.tools.base import Tool
from assistant_runtime.tools.toolbox import Toolbox
from assistant_runtime.turn import Answer, AnswerStream, Question, Turns

A = TypeVar("A", Answer, AnswerStream)


@dataclass(slots=True)
class Turn:
    """The state of one question."""

    question: Question
    conversation: Conversation
    runner: Runner
    record: Record
    max_steps: int | None
    allowed: list[str] | None
    """The tools that the client wants; None: all."""
    steps: int = 0
    ended: bool = False
    handed_over: tuple[Any, ...] = ()
    """The calls that the client is to run."""
    caches: set[str] = field(default_factory=set)
    told: dict[str, Any] = field(default_factory=dict)
    """The answer's model and tokens, as the client is told."""
    window: Window | None = None
    """The session's messages before this turn; None: no session."""
    left_out: list[LeftOut] = field(default_factory=list)
    """What providers did not take, in any round."""

    def asked(self) -> Question:
        """Give the next round's question."""
        return replace(self.question, payload=self.conversation.payload(), own_tools=self.conversation.own_tools)

    def note(self, left_out: Iterable[LeftOut]) -> None:
        """Note what the provider does not take."""
        for each in left_out:
            note = _note(each, self.conversation.own_tools)
            if note not in self.record.notes:
                self.record.notes.append(note)
                self.left_out.append(each)


class AssistedStream:
    """A streamed answer of several rounds; to the route it is like any other.

    Parameters
    ----------
    events
        The stream, once its first round has begun.
    provider
        Who answers in the first round.
    """

    def __init__(self, loop: "ToolLoop", turn: Turn, first: AnswerStream) -> None:
        self.provider = first.provider
        self.left_out = tuple(turn.left_out)
        self.complete = False
        self._loop = loop
        self._turn = turn
        self._current = first
        self._reader: RoundReader | None = None
        options = turn.question.payload.get("stream_options")
        self._stitched = Stitched(include_usage=isinstance(options, dict) and bool(options.get("include_usage")))
        self.events = self._stitch()

    async def aclose(self) -> None:
        """Close the provider's connection, end what runs, and keep what is honest of an answer that broke off."""
        await self.events.aclose()
        await self._current.aclose()
        if not self.complete and self._reader is not None:
            self._turn.told = self._stitched.told()
            await self._loop.keep(self._turn, self._reader.end(), incomplete=True)

    async def _stitch(self) -> AsyncGenerator[bytes, None]:
        turn, stitched = self._turn, self._stitched
        while True:
            reader = self._reader = stitched.begin(turn.conversation.is_clients)
            async for events in self._current.events:
                if passing := reader.feed(events):
                    yield passing
            await self._current.aclose()
            if passing := reader.rest():
                yield passing
            found = reader.end()
            async with aclosing(self._loop.advance(turn, found)) as steps:
                async for step in steps:
                    yield stitched.step(step)
            self._reader = None
            if turn.ended:
                break
            self._current = await self._loop.begin_round(turn)
        turn.told = stitched.told()
        await self._loop.keep(turn, found)
        ending = stitched.end(_finish_reason(turn, found), turn.record)
        self.complete = True
        for event in ending:
            yield event


class ToolLoop:
    """Answers questions with tools and agents.

    Parameters
    ----------
    turns
        Answers each round.
    toolbox
        The tools there are.
    agents
        The agents there are.
    environment
        Limits and metrics.
    history
        The sessions.
    """

    def __init__(
        self, turns: Turns, toolbox: Toolbox, agents: AgentDirectory, environment: Environment, history: History
    ) -> None:
        self._history = history
        self._turns = turns
        self._toolbox = toolbox
        self._agents = agents
        self._environment = environment

    def has_tool(self, name: str) -> bool:
        """Whether the runtime has a tool of that name, at this moment."""
        return name in self._toolbox.tools()

    def wants(self, payload: dict[str, Any]) -> bool:
        """Whether the runtime has a part in the answer; if not, the request passes as it is."""
        if payload.get(FIELD) is not None or str(payload.get("model") or "").startswith(MODEL_PREFIX):
            return True
        return (
            not self._toolbox.empty
            and payload.get("tool_choice") != "none"
            and payload.get("n") in {None, 1}
            and "functions" not in payload
            # Their calls have another form, which belongs to the client and the provider alone.
            and not any(tool.get("type") == "custom" for tool in payload.get("tools") or ())
        )

    async def answer(self, question: Question) -> Answer:
        """Answer at once.

        Raises
        ------
        ProviderError
            No candidate answered.
        ApiError
            There is no such agent or tool.
        """
        turn = await self._open(question)
        joined = Joined()
        while True:
            answer = await self._ask(turn, self._turns.answer)
            turn.caches.add(answer.cache)
            payload, found = read_answer(answer.body)
            joined.add(payload, found)
            async with aclosing(self.advance(turn, found)) as steps:
                async for _ in steps:
                    pass
            if turn.ended:
                break
        turn.told = joined.told(payload)
        await self.keep(turn, found)
        payload[FIELD] = turn.record.told()
        body = joined.end(payload, turn.handed_over, _finish_reason(turn, found))
        cache = turn.caches.pop() if len(turn.caches) == 1 else "miss"
        return Answer(body, answer.provider, cache, tuple(turn.left_out))

    async def stream(self, question: Question) -> AssistedStream:
        """Answer as a stream; returns when the first round's first event is there.

        Raises
        ------
        ProviderError, ApiError
            As for `answer`.
        """
        turn = await self._open(question)
        return AssistedStream(self, turn, await self.begin_round(turn))

    async def begin_round(self, turn: Turn) -> AnswerStream:
        """Begin a streamed round."""
        return await self._ask(turn, self._turns.stream)

    async def advance(self, turn: Turn, found: Round) -> AsyncGenerator[Step, None]:
        """Do what the model asks for; yields steps as they begin and end, and says with `ended` if that was all."""
        asked = [Asked(call["id"], call["function"]["name"], call["function"]["arguments"]) for call in found.calls]
        clients = {call.id for call in asked if turn.conversation.is_clients(call.name)}
        own = [call for call in asked if call.id not in clients]
        turn.handed_over = tuple(call for call in found.calls if call["id"] in clients)
        turn.ended = bool(clients) or not own or turn.conversation.final
        if turn.ended:
            reason = "left to be asked again: the client's tools come first" if clients else "no call was left"
            for step in _left_out(turn, own, reason):
                yield step
            return
        runner, conversation = turn.runner, turn.conversation
        handoffs = [call for call in own if call.name in conversation.handoffs]
        tools = [call for call in own if call.name not in conversation.handoffs]
        answers: dict[str, str] = {}
        if tools:
            agent = conversation.agent.name if conversation.agent else ""
            async for step in runner.run(tools, conversation.tools, agent):
                yield step
        for call in handoffs:
            yield await self._hand_over(turn, call, answers, first=call is handoffs[0])
        conversation.add(found, {**runner.answers, **answers})

    async def keep(self, turn: Turn, found: Round, *, incomplete: bool = False) -> None:
        """Keep the turn in its session; what can't be kept is told with the answer, which is not lost for it."""
        if turn.window is None:
            return
        messages = turn.conversation.kept
        calls = () if incomplete else turn.handed_over
        if found.text or calls or not incomplete:
            messages.append(said(found, calls))
        elif not messages or messages[-1].get("role") not in {"assistant", "tool"}:
            return
        key = turn.question.idempotency_key or f"turn_{secrets.token_hex(16)}"
        try:
            about = _about(turn, found, messages)
            recording = self._history.record(turn.window, messages, key, incomplete=incomplete, about=about)
            session = await to_its_end(recording)
        except ApiError as error:
            turn.record.notes.append(f"not kept in the session: {error}")
            return
        if session is None:
            turn.record.notes.append("not kept in the session: the store does not answer")
        else:
            turn.record.session = {"id": session.id, "version": session.version}

    async def _ask(self, turn: Turn, ask: Callable[[Question], Awaitable[A]]) -> A:
        """Ask for one round."""
        turn.steps += 1
        last = turn.max_steps is not None and turn.steps >= turn.max_steps
        turn.conversation.final = turn.conversation.final or last or turn.runner.exhausted
        answer = await ask(turn.asked())
        turn.note(answer.left_out)
        return answer

    async def _open(self, question: Question) -> Turn:
        options = AssistantOptions.model_validate(question.payload.get(FIELD) or {})
        record = Record()
        turn = Turn(
            question,
            Conversation(question.payload),
            Runner(self._environment, question.tenant, question.request_id, question.account, record),
            record,
            max_steps=None,
            allowed=self._allowed(question, options),
        )
        if options.session:
            if options.session != question.stored_in:
                question.principal.require("sessions", "assistant.session")
            await self._remember(turn, options.session)
        if name := _agent_name(options, question.model):
            agent = await self._agents.find(question.principal, name)
            if agent is None:
                raise ApiError(404, f"There is no agent {name!r}.", code="agent_not_found", param="model")
            if f"{MODEL_PREFIX}{name}" in (question.account.models or ()):
                turn.question = replace(question, any_model=True)
            await self._act_as(turn, agent)
            turn.max_steps = agent.max_steps
        else:
            turn.conversation.offer(self._offered(turn, None))
        return turn

    async def _remember(self, turn: Turn, session_id: str) -> None:
        turn.window = await self._history.load(turn.question.tenant, session_id)
        turn.conversation.remember(turn.window.messages)
        if turn.window.degraded:
            turn.record.notes.append("the session's newest messages may be missing: its store does not answer")

    def _allowed(self, question: Question, options: AssistantOptions) -> list[str] | None:
        known = self._toolbox.tools()
        unknown = [name for name in options.tools or () if name not in known]
        if unknown:
            there = ", ".join(sorted(known)) or "none"
            raise ApiError(
                400,
                f"assistant.tools: there is no tool {unknown[0]!r}; there are: {there}",
                code="tool_not_found",
                param="assistant.tools",
            )
        for name in options.tools or ():
            if not question.principal.may_use(name):
                raise ApiError(
                    403,
                    f"assistant.tools: the key does not have access to the tool {name!r}.",
                    error_type="permission_error",
                    code="tool_not_allowed",
                    param="assistant.tools",
                )
            if scope := known[name].scope:
                question.principal.require(scope, "assistant.tools")
        return options.tools

    def _offered(self, turn: Turn, agent: Agent | None) -> dict[str, Tool]:
        scopes = turn.question.principal.scopes
        tools = {
            name: tool
            for name, tool in self._toolbox.tools().items()
            if (tool.scope is None or tool.scope in scopes) and turn.question.principal.may_use(name)
        }
        if agent is not None and agent.tools is not None:
            turn.record.notes += [
                f"agent {agent.name}: there is no tool {name}" for name in agent.tools if name not in tools
            ]
            tools = {name: tools[name] for name in agent.tools if name in tools}
        if turn.question.payload.get("tool_choice") == "none":
            return {}
        return {name: tool for name, tool in tools.items() if turn.allowed is None or name in turn.allowed}

    async def _act_as(self, turn: Turn, agent: Agent) -> None:
        if turn.question.any_model and not self._agents.is_shared(agent):
            # A tenant gives an agent of its own any name and any model: it is held to the models of the key.
            turn.question = replace(turn.question, any_model=False)
        found = {name: await self._agents.find(turn.question.principal, name) for name in agent.handoffs}
        turn.record.notes += [f"agent {agent.name}: there is no agent {name}" for name in found if found[name] is None]
        turn.conversation.act_as(agent, [other for other in found.values() if other is not None])
        turn.conversation.offer(self._offered(turn, agent))
        turn.record.agent = agent.name

    async def _hand_over(self, turn: Turn, call: Asked, answers: dict[str, str], *, first: bool) -> Step:
        """Let another agent go on; of several that the model names at once, the first."""
        before = turn.conversation.agent
        step = Step("handoff", call.id, call.name, {}, agent=before.name if before else "")
        turn.record.steps.append(step)
        if not first:
            answers[call.id] = "not handed over: another agent has the conversation already."
            step.end("refused", answers[call.id])
            return step
        target = turn.conversation.handoffs[call.name]
        await self._act_as(turn, target)
        answers[call.id] = f"You are the agent {target.name} now. Go on with what the user asked for."
        step.end("done")
        return step


def _about(turn: Turn, found: Round, messages: Sequence[Any]) -> Mapping[str, Any] | None:
    """Give what is kept with the turn beside its messages: how the answer ended, and how many of them it is."""
    about = turn.question.about
    if about is None:
        return None
    ended = {"finish_reason": _finish_reason(turn, found), "made": len(messages) - turn.conversation.asked}
    if found.refusal and not found.content:
        ended["refused"] = True
    return {**about, **turn.told, **ended, FIELD: turn.record.told()}


def _agent_name(options: AssistantOptions, model: str | None) -> str:
    if options.agent:
        return options.agent
    return model.removeprefix(MODEL_PREFIX) if model and model.startswith(MODEL_PREFIX) else ""


def _note(left_out: LeftOut, offered: frozenset[str]) -> str:
    if left_out.field:
        return f"{left_out.field} was left out, because the model does not take it: {left_out.reason}"
    which = "tools" if left_out.tools == offered else f"tools {', '.join(sorted(left_out.tools))}"
    return f"answered without the server's {which}: {left_out.reason}"


def _left_out(turn: Turn, calls: list[Asked], reason: str) -> list[Step]:
    steps = [Step("tool", call.id, call.name, {}) for call in calls]
    for step in steps:
        step.end("skipped", reason)
    turn.record.steps += steps
    return steps


def _finish_reason(turn: Turn, found: Round) -> str | None:
    if turn.handed_over:
        return "tool_calls"
    return "stop" if found.finish_reason == "tool_calls" else found.finish_reason
