"""What the user sees while the demo works: a live checklist on a terminal, plain lines in a log.

It is also the `Progress` that the rest of this package reports to, so that the steps of building a cluster appear
below the step of the demo that they belong to.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Self

from rich.console import Console
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

REFRESHES_A_SECOND = 8
MARKS = {True: Text("✔", style="green"), False: Text("✘", style="red")}


@dataclass
class Row:
    """One line of the checklist."""

    title: str
    level: int
    detail: str = ""
    succeeded: bool | None = None
    """None while it is under way."""
    started: float = field(default_factory=time.monotonic)
    seconds: float | None = None

    def elapsed(self) -> float:
        """Return how long it took, or has been taking, in seconds."""
        return time.monotonic() - self.started if self.seconds is None else self.seconds


class Checklist:
    """Rows in the order in which they began; a row begun inside another one is drawn below it."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._rows: list[Row] = []
        self._open: list[Row] = []
        self._spinner = Spinner("dots")
        self._live = Live(
            console=console, get_renderable=self._render, refresh_per_second=REFRESHES_A_SECOND, transient=False
        )

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """Show `title` for as long as the context lasts; an exception marks it as failed and goes on."""
        row = self.begin(title)
        try:
            yield
        except BaseException:
            self.end(row, succeeded=False)
            raise
        self.end(row)

    def note(self, text: str) -> None:
        """Show `text` beside the row that is under way."""
        if self._open:
            self.describe(self._open[-1], text)
        else:
            self._console.print(text, markup=False)

    def begin(self, title: str) -> Row:
        """Add a row that is under way, below the innermost one that is."""
        row = Row(title, level=len(self._open))
        self._rows.append(row)
        self._open.append(row)
        self._log(f"... {title}", row)
        return row

    def add(self, title: str) -> Row:
        """Add a row that goes on beside others, such as one of several components."""
        row = Row(title, level=len(self._open))
        self._rows.append(row)
        return row

    def describe(self, row: Row, detail: str) -> None:
        """Say what the row waits for, or what it found."""
        if detail != row.detail:
            row.detail = detail
            if detail:
                self._log(f"    {row.title}: {detail}", row)

    def end(self, row: Row, *, succeeded: bool = True) -> None:
        """Mark a row, and all that was begun inside it, as over."""
        row.seconds, row.succeeded = row.elapsed(), succeeded
        if row in self._open:
            del self._open[self._open.index(row) :]
        self._log(f"{'ok ' if succeeded else 'FAILED'} {row.title} ({row.seconds:.1f} s)", row)

    def _log(self, text: str, row: Row) -> None:
        if not self._console.is_terminal:
            self._console.print("  " * row.level + text, markup=False)

    def _render(self) -> Table:
        # One line a row, whatever it says: a terminal that wraps lines by itself can't be drawn over.
        table = Table.grid(padding=(0, 1))
        table.add_column(no_wrap=True, overflow="ellipsis")
        table.add_column(justify="right", no_wrap=True, min_width=8)
        table.add_column(no_wrap=True, overflow="ellipsis", style="dim")
        for row in self._rows:
            table.add_row(self._titled(row), f"{row.elapsed():.1f} s", row.detail)
        return table

    def _titled(self, row: Row) -> Text:
        mark = self._spinner.render(time.monotonic()) if row.succeeded is None else MARKS[row.succeeded]
        return Text.assemble("  " * row.level, mark if isinstance(mark, Text) else str(mark), " ", row.title)
