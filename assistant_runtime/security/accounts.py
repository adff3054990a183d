"""Accounts: whoever asks a model is handed one, holds tokens there before it asks, and spends from it.

A request's account is opened when the request is admitted, and closed when it is answered. Work that goes on after its
request, such as a writing job or the reading of a large document, has accounts of its own with the same payer. There is
no other way to a model, so that nothing is spent past a budget or left out of the usage ledger.
"""

from collections.abc import Collection, Mapping
from contextlib import suppress
from typing import Any, Protocol, Self

from assistant_runtime import json_text
from assistant_runtime.ending import to_its_end
from assistant_runtime.errors import ApiError, StoreUnavailableError
from assistant_runtime.providers.base import Usage
from assistant_runtime.security.principal import Principal
from assistant_runtime.security.spending import BYTES_PER_TOKEN, EXPECTED_ANSWER, Budgets, Reservation

Spent = tuple[str, int, int]
"""A model, with the tokens of its input and of its output."""


class Ledger(Protocol):
    """Keeps what was spent."""

    def add(self, key_id: str, spent: list[Spent]) -> None:
        """Add what a key spent."""


class Account:
    """What one request, or one piece of work after it, spends for its payer.

    Parameters
    ----------
    principal
        Who pays.
    budgets
        The keys' budgets.
    ledger
        Where usage is kept; None: nowhere.
    """

    __slots__ = ("_assumed", "_budgets", "_ledger", "_limited", "_reservations", "_spent", "headers", "principal")

    def __init__(self, principal: Principal, budgets: Budgets, ledger: Ledger | None) -> None:
        self.principal = principal
        self.headers: Mapping[str, str] = {}
        """How the payer's budget stands, in the names that OpenAI's clients know; empty without a budget."""
        self._budgets = budgets
        self._ledger = ledger
        self._limited = budgets.limits(principal) is not None
        self._reservations: list[Reservation] = []
        self._spent: list[Spent] = []
        self._assumed = 0

    async def __aenter__(self) -> Self:
        """Use it as a context manager, which closes it."""
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def models(self) -> Collection[str] | None:
        """The models that the payer may ask; None: all."""
        return self.principal.models

    async def hold(self, asked: Any) -> None:
        """Hold the tokens that a model is expected to take for what it is about to be asked.

        Parameters
        ----------
        asked
            The request, as JSON would have it.

        Raises
        ------
        ApiError
            429: nothing is left of a budget.
        """
        if not self._limited:
            return
        expected = len(json_text.dumps(asked)) // BYTES_PER_TOKEN + EXPECTED_ANSWER
        missing = self._taken + expected - self._held
        if missing > 0:
            await self._reserve(missing)

    async def _reserve(self, tokens: int) -> None:
        try:
            reservation = await self._budgets.reserve(self.principal, tokens)
        except ApiError:
            if self._held > self._taken:
                # What is held and not spent yet is all that is left.
                return
            raise
        self._reservations.append(reservation)
        self.headers = reservation.headers

    def spend(self, model: str, usage: Usage | None) -> None:
        """Count what a model took; without a count, it is taken for what is held."""
        self._spent.append((model, usage.input_tokens if usage else 0, usage.output_tokens if usage else 0))
        if usage is None:
            self._assumed += max(0, self._held - self._taken)

    async def close(self) -> None:
        """Count what was spent, in place of what was held."""
        if self._ledger is not None and self._spent:
            self._ledger.add(self.principal.key_id, self._spent)
        if self._reservations:
            last = self._reservations[-1]
            # What was held in a Redis that has gone since can only be given back there.
            here = sum(reservation.amount for reservation in self._reservations if reservation.store is last.store)
            difference = max(self._taken - self._held, -here)
            # With a Redis that just died, what was held stays counted there: rather too much than too little.
            with suppress(StoreUnavailableError):
                await to_its_end(self._budgets.settle(last, difference))
        self._spent, self._reservations, self._assumed = [], [], 0

    def another(self) -> "Account":
        """Give a further account of the same payer, for work that goes on after this one is closed."""
        return Account(self.principal, self._budgets, self._ledger)

    @property
    def _held(self) -> int:
        return sum(reservation.amount for reservation in self._reservations)

    @property
    def _taken(self) -> int:
        return self._assumed + sum(given + taken for _, given, taken in self._spent)


class Accounts:
    """Opens accounts.

    Parameters
    ----------
    budgets
        The keys' budgets.
    ledger
        Where usage is kept; None: there is no database.
    """

    def __init__(self, budgets: Budgets, ledger: Ledger | None) -> None:
        self._budgets = budgets
        self._ledger = ledger

    def open(self, principal: Principal) -> Account:
        """Open an account; it costs nothing before something is spent."""
        return Account(principal, self._budgets, self._ledger)


class OwnExpense:
    """Pays for what the runtime asks for itself, which no client's budget is charged for."""

    models: Collection[str] | None = None

    async def hold(self, asked: Any) -> None:
        """Hold nothing."""

    def spend(self, model: str, usage: Usage | None) -> None:
        """Count nothing."""
