"""Pure ASGI middleware behind the Gate: hold a request against its key's budget, and count what it took."""

from contextlib import suppress
from typing import TYPE_CHECKING

from starlette.types import ASGIApp, Receive, Scope, Send

from assistant_runtime.api.context import context_of, encoded, header
from assistant_runtime.errors import StoreUnavailableError
from assistant_runtime.security.principal import Principal
from assistant_runtime.security.spending import SPENDING_PATHS, Budgets, Reservation, Spent, begin_spending

if TYPE_CHECKING:
    from assistant_runtime.security.ledger import UsageLedger


class Spending:
    """Admit a request while its key has tokens left.

    Parameters
    ----------
    budgets
        The keys' budgets.
    ledger
        Where usage is kept; None: there is no database.
    """

    def __init__(self, app: ASGIApp, budgets: Budgets, ledger: "UsageLedger | None") -> None:
        self._app = app
        self._budgets = budgets
        self._ledger = ledger

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve a request that has tokens left."""
        if scope["type"] != "http" or scope["method"] != "POST" or not scope["path"].startswith(SPENDING_PATHS):
            await self._app(scope, receive, send)
            return
        context = context_of(scope)
        principal = context.principal
        reservation = await self._budgets.reserve(principal, int(header(scope, b"content-length") or 0))
        if reservation is not None:
            context.headers.extend(encoded(reservation.headers))
        spent = begin_spending()
        try:
            await self._app(scope, receive, send)
        finally:
            await self._settle(principal, reservation, spent)

    async def _settle(self, principal: Principal, reservation: Reservation | None, spent: Spent) -> None:
        if self._ledger is not None:
            self._ledger.add(principal.key_id, spent)
        if reservation is not None:
            # With a Redis that just died, what was held stays counted there: rather too much than too little.
            with suppress(StoreUnavailableError):
                await self._budgets.settle(reservation, spent)
