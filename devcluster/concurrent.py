"""Do the same for several nodes at once."""

from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")


def each(action: Callable[[T], object], items: Iterable[T]) -> None:
    """Do something for all items at once; the first failure is raised when all have ended."""
    with ThreadPoolExecutor() as pool:
        list(pool.map(action, items))
