"""What a benchmark tells: what it is about to do, and what it found, which stands in docs/benchmarks.md."""

import argparse
import signal
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

PAGE = Path(__file__).parents[2] / "docs/benchmarks.md"


def parser(description: str | None) -> argparse.ArgumentParser:
    """Give a parser of a benchmark's options, with what they have in common."""
    made = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    made.add_argument("--no-write", action="store_true", help="only print; leave docs/benchmarks.md as it is")
    return made


def parse(parser: argparse.ArgumentParser) -> argparse.Namespace:
    """Read the options; from then on SIGTERM ends the process in order, so that no server is left behind."""
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    return options


def at_least(least: int) -> Callable[[str], int]:
    """Give the type of an option that is a number, and no smaller than this."""

    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < least:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number of at least {least}")
        return int(text)

    return number


def say(text: str) -> None:
    """Tell a person who waits what is going on."""
    print(f"{time.strftime('%H:%M:%S')} {text}", file=sys.stderr, flush=True)


def publish(name: str, report: str, *, write: bool) -> None:
    """Print a report, and write it in the place of the one before it."""
    print(report)
    if write:
        begin, end = f"<!-- {name}:begin -->", f"<!-- {name}:end -->"
        page = PAGE.read_text()
        PAGE.write_text(f"{page.split(begin)[0]}{begin}\n{report}\n{end}{page.split(end)[1]}")


def table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Give a table in Markdown."""
    head = list(columns)
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (head, ["---"] * len(head), *rows))


def figures(found: Mapping[str, str]) -> str:
    """Give a table of single figures by what they are of."""
    return table(("what", "figure"), found.items())
