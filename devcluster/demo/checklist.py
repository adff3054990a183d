"""What the user sees while the demo works: a live checklist on a terminal, plain lines in a log.

It is also the `Progress` that the rest of this package reports to, so that the steps of building a cluster appear
below the step of the demo that they belong to.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Self, cast

from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.text import Text

REFRESHES_A_SECOND = 8
MARK_WIDTH = 2
ELAPSED_WIDTH = 9
"""Room for `1234.5 s` and a space."""
DETAIL_WIDTH = 12
"""Least room for what a row says beside its title."""
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

    def _render(self) -> Group:
        # One line a row, whatever it says: what a terminal wraps by itself can't be drawn over.
        widest = max((len(row.title) + 2 * row.level for row in self._rows), default=0)
        title_width = min(widest, self._console.width - MARK_WIDTH - ELAPSED_WIDTH - DETAIL_WIDTH)
        return Group(*(self._line(row, title_width) for row in self._rows))

    def _line(self, row: Row, title_width: int) -> Text:
        mark = self._spinner.render(time.monotonic()) if row.succeeded is None else MARKS[row.succeeded]
        title = Text(row.title)
        title.truncate(title_width - 2 * row.level, overflow="ellipsis", pad=True)
        elapsed = f"{row.elapsed():.1f} s".rjust(ELAPSED_WIDTH)
        line = Text("  " * row.level, no_wrap=True, overflow="ellipsis")
        return (
            line.append_text(cast("Text", mark))
            .append(" ")
            .append_text(title)
            .append(elapsed)
            .append(f"  {row.detail}", "dim")
        )
