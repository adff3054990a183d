"""Retention of the audit log: whole chains are deleted when their last record is old, and a record says so.

The record is written first, in this process's own chain and with its MAC. So `audit verify` tells what retention
deleted from what somebody else did, also where a deletion was interrupted. A chain whose last record was not made with
our key is kept: its time can't be trusted.

A chain names the ends of others only while these are younger than half the retention, and ends after a quarter of it at
the latest. So it is old itself before the record goes that explains why they are missing.
"""

import orjson
import structlog

from assistant_runtime.security.audit import EXPIRED, MICROSECONDS, AuditLog
from assistant_runtime.stores.audit import AuditRecord


class AuditExpiry:
    """Deletes chains.

    Parameters
    ----------
    log
        The log, which takes the records of what is deleted.
    """

    def __init__(self, log: AuditLog) -> None:
        self._log = log
        self._behind = ""
        """The last chain of this pass that is kept."""
        self._recorded = ""
        """The chain that is being deleted."""
        self._logger = structlog.get_logger(__name__)

    async def delete(self, age: float, limit: int) -> int:
        """Delete at most so many records of chains that ended `age` seconds ago, by the store's clock; gives how many.

        Raises
        ------
        StoreUnavailableError
            The store does not answer.
        """
        before = await self._log.sink.now() - age
        last = await self._next(before)
        if last is None:
            self._behind = ""
            return 0
        if self._recorded != last.chain:
            await self._log.write(EXPIRED, {"chains": {last.chain: last.sequence}})
            self._recorded = last.chain
        return await self._log.sink.drop(last.chain, limit)

    async def _next(self, before: float) -> AuditRecord | None:
        """Give the last record of the first chain that may go."""
        # Chains sort by their beginning.
        newest = f"{int(before * MICROSECONDS):016x}"
        while (last := await self._log.sink.last_after(self._behind)) and last.chain < newest:
            if not self._log.made(last):
                self._logger.warning("audit_chain_kept", chain=last.chain, reason="it was made with another SECRET_KEY")
            elif orjson.loads(last.body)["time"] < before:
                return last
            self._behind = last.chain
        return None
