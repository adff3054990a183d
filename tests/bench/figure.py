"""A figure of the runtime's benchmark, and what is aimed at."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One figure."""

    what: str
    value: float
    unit: str = ""
    digits: int = 0
    """After the point."""
    at_least: float | None = None
    at_most: float | None = None

    @property
    def row(self) -> tuple[str, str, str]:
        """What it is, itself, and the aim, with a word where it is missed."""
        return self.what, self._told(self.value, self.digits), self._aim + (" (missed)" if self.missed else "")

    @property
    def missed(self) -> bool:
        """Whether it is not what is aimed at."""
        too_low = self.at_least is not None and self.value < self.at_least
        return too_low or (self.at_most is not None and self.value > self.at_most)

    @property
    def _aim(self) -> str:
        if self.at_least is not None:
            return f"at least {self._told(self.at_least)}"
        if self.at_most is not None:
            return f"at most {self._told(self.at_most)}" if self.at_most else "none"
        return ""

    def _told(self, value: float, digits: int | None = None) -> str:
        number = f"{value:,g}" if digits is None else f"{value:,.{digits}f}"
        return f"{number} {self.unit}".rstrip()
