"""Asking a model for a text, as a chat would be asked: with the same names, fallback, metrics, budgets and errors."""

from collections.abc import Callable

from assistant_runtime.errors import ProviderError
from assistant_runtime.security.accounts import Accounts
from assistant_runtime.security.principal import Principal
from assistant_runtime.tool_loop.answer import read_answer
from assistant_runtime.turn import Question, Turns
from assistant_runtime.writers.job import Job
from assistant_runtime.writers.panel import Ask
from assistant_runtime.writers.prompts import Messages

REQUEST_ID = "writing-job"


def asking(turns: Turns, accounts: Accounts) -> Callable[[Job], Ask]:
    """Return how models are asked for a job; each ask has an account of its own, so that none is late to be counted.

    The response cache is left out of it: of two writers with one model, each writes a text of its own.
    """
    return lambda job: _asking(turns, accounts, _principal(job))


def _asking(turns: Turns, accounts: Accounts, principal: Principal) -> Ask:
    async def ask(model: str, messages: Messages, max_tokens: int | None) -> str:
        payload = {"model": model, "messages": messages} | ({"max_tokens": max_tokens} if max_tokens else {})
        async with accounts.open(principal) as account:
            question = Question(payload, principal, REQUEST_ID, account, read_cache=False, write_cache=False)
            answer = await turns.answer(question)
        _, said = read_answer(answer.body)
        if not said.content.strip():
            raise ProviderError(502, f"provider {answer.provider} gave no text", code="provider_bad_response")
        return said.content

    return ask


def _principal(job: Job) -> Principal:
    if job.payer is None:
        return Principal(job.tenant, job.tenant)
    payer = job.payer
    return Principal(
        job.tenant,
        payer.key_id,
        budget_daily=payer.budget_daily,
        budget_monthly=payer.budget_monthly,
        tokens_per_minute=payer.tokens_per_minute,
        models=None if payer.models is None else frozenset(payer.models),
    )
