"""The one error of this package: something a person has to know, with what to do about it.

Callers only ever report it, so there is one class and no tree.
"""

from pathlib import Path

LOG_TAIL_LINES = 15
"""Lines of a failed component's log that are shown: enough for a Go program's last error and its context."""


class DevclusterError(Exception):
    """A development cluster can't do what was asked; the message says why and what to do."""


def component_error(problem: str, log: Path) -> DevclusterError:
    """Describe the failure of a component by the end of its log.

    Parameters
    ----------
    problem
        What went wrong, without a final full stop.
    log
        The component's log file, which may not exist yet.
    """
    lines = log.read_text(errors="replace").splitlines() if log.exists() else []
    tail = "\n".join(f"  {line[:400]}" for line in lines[-LOG_TAIL_LINES:]) or "  (empty)"
    return DevclusterError(f"{problem}. The end of {log}:\n{tail}")
