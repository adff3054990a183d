"""The block `logging`."""

from typing import Literal

from assistant_operator.spec.base import Model


class Logging(Model):
    """Logs of the runtime."""

    level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Least severity that is logged."""
    format: Literal["json", "console"] = "json"
    """One JSON object a line, or text for people."""
