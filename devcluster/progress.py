"""What a person sees while something takes long: the step, and how long it has been running.

Everything goes to standard error, so that standard output stays clean for kubeconfigs and JSON.
"""

import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import Progress as RichProgress
from rich.progress import SpinnerColumn, TextColumn, TimeElapsedColumn

LOG_INTERVAL_SECONDS = 60.0
"""How often a log is told that a step still runs: watchers of logs take a long silence for a hang."""


class Progress(Protocol):
    """Receives the steps of a long operation."""

    def step(self, title: str) -> AbstractContextManager[None]:
        """Return a context that lasts as long as the step `title`."""

    def note(self, text: str) -> None:
        """Tell something that takes no time."""


class Silent:
    """Tells nothing: for tests and scripts."""

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Do nothing around the step."""
        del title
        yield

    def note(self, text: str) -> None:
        """Drop the text."""


class Terminal:
    """Draws a spinner on a terminal, and writes plain lines into a log."""

    def __init__(self) -> None:
        self._console = Console(stderr=True, highlight=False)

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Show `title` with its elapsed time, and a line for it when it has ended."""
        started = time.monotonic()
        if self._console.is_terminal:
            columns = SpinnerColumn(), TextColumn("{task.description}"), TimeElapsedColumn()
            with RichProgress(*columns, console=self._console, transient=True) as progress:
                progress.add_task(title, total=None)
                yield
        else:
            self.note(f"... {title}")
            with self._still_running(title, started):
                yield
        self.note(f"ok  {title} ({time.monotonic() - started:.1f} s)")

    def note(self, text: str) -> None:
        """Write one line."""
        self._console.print(text, markup=False, soft_wrap=True)

    @contextmanager
    def _still_running(self, title: str, started: float) -> Iterator[None]:
        """Write a line from time to time until the block ends."""
        ended = threading.Event()

        def tell() -> None:
            while not ended.wait(LOG_INTERVAL_SECONDS):
                self.note(f"... {title} ({time.monotonic() - started:.0f} s so far)")

        teller = threading.Thread(target=tell, daemon=True)
        teller.start()
        try:
            yield
        finally:
            ended.set()
            teller.join()
