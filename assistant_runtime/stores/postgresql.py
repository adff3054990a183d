"""asyncpg's connection, as SQLAlchemy is to have it; imported only where PostgreSQL is used."""

import asyncpg


class HastyConnection(asyncpg.Connection):  # type: ignore[misc]  # untyped
    """A connection that is given up at once.

    SQLAlchemy gives a connection up when a statement was cut short, and waits two seconds for its goodbye: on one that
    hangs, the request would wait as much longer than its time.
    """

    async def close(self, *, timeout: float | None = None) -> None:  # noqa: ASYNC109 - asyncpg's signature
        """Close in order; with a time limit, which only whoever gives it up has, without a goodbye."""
        if timeout is None:
            await super().close()
        else:
            self.terminate()
