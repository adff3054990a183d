"""Batches of rows that nobody waits for: one row that a store refuses does not keep the others from it."""

from collections.abc import Awaitable, Callable, Sequence
from typing import TypeVar

from assistant_runtime.errors import StoreRefusedError

T = TypeVar("T")


async def write_all(
    waiting: list[T],
    most: int,
    write: Callable[[Sequence[T]], Awaitable[None]],
    refused: Callable[[T, StoreRefusedError], None],
) -> None:
    """Write rows in batches, in their order; a batch that is refused is written in ever smaller ones.

    Parameters
    ----------
    waiting
        The rows. One that is written or refused is removed from it at once, so that it holds what is left to do after
        an error.
    most
        Rows of the largest batch.
    write
        Writes a batch, all or nothing.
    refused
        Called with each row that the store can't keep, and why.

    Raises
    ------
    StoreUnavailableError
        The store does not answer, or refuses for a reason that is not in the rows, such as a full disk.
    """
    size = most
    while waiting:
        batch = waiting[:size]
        try:
            await write(batch)
        except StoreRefusedError as error:
            if not error.of_data:
                raise
            if len(batch) > 1:
                size = len(batch) // 2
                continue
            refused(batch[0], error)
        del waiting[: len(batch)]
        size = min(most, 2 * size)
