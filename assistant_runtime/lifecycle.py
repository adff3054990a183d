"""Where the process is in its life: serving, or draining."""

from dataclasses import dataclass


@dataclass(slots=True)
class Lifecycle:
    """Shared by the server, which takes the signals, and the application, which answers /ready."""

    draining: bool = False
