"""What a provider's refusal concerns: by its structured fields first, and by its words where it has none."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

SEPARATORS = re.compile(r"[.\[\]/'\"\s]+")
"""Between the parts of a place such as `messages[0].role`, `tools.0.function` or `/body/user`."""

UNSUPPORTED_CODES = frozenset(
    {
        "extra_forbidden",
        "unknown_parameter",
        "unrecognized_keys",
        "unsupported",
        "unsupported_parameter",
        "unsupported_value",
        "wrong_api_format",
    }
)

UNSUPPORTED = re.compile(
    r"unsupported|not (yet |currently )?(be )?(support|available|permitted|allowed|enabled|recogni[sz]ed|accept)"
    r"|n't (support|accept|allow)|unknown (name|param|field|argument|key)|unrecogni[sz]ed"
    r"|unexpected (field|keyword|argument|param|property|key)|extra (input|field)|additional propert|deprecated"
    r"|incompatible|cannot (both )?be (specified|used|set|given)|only the default|no such (field|param)|不支持"
)
"""Ways to say that a field is not taken at all, whatever its value."""

AMBIGUOUS = frozenset({"user", "store", "metadata", "seed", "name", "reasoning", "thinking"})
"""Fields that are plain words too: as words they count only in quotes."""

TOO_LONG = re.compile(
    r"context.?(length|window)|maximum context|(?<!string )too (long|large|many (input )?tokens)|token (limit|count)"
    r"|max_model_len|exceeds? the (model|max)|reduce the length"
)
"""A request that is too long says nothing of the next one."""

TOOLS = re.compile(r"\btools?\b|tool.?(use|choice|call|config)|function.?(call|declaration)|\bfunctions?\b|--jinja")

TEMPLATE = re.compile(r"jinja|chat template|\brole\b|roles must|system message")

REFUSED = frozenset({400, 404, 405, 409, 413, 415, 422, 501})
"""Statuses that are about the request, where other words may help."""


@dataclass(frozen=True)
class Refusal:
    """One refusal.

    Parameters
    ----------
    status
        HTTP status, of the answer or within it.
    error
        The error in OpenAI's shape: `message`, `type`, `param`, `code`.
    """

    status: int
    error: Mapping[str, Any]

    @cached_property
    def reason(self) -> str:
        """What the provider said; some write it into `param`."""
        param = str(self.error.get("param") or "")
        message = str(self.error.get("message") or "")
        return f"{message}: {param}" if " " in param else message

    @cached_property
    def words(self) -> str:
        """The reason in lower case."""
        return self.reason.lower()

    @cached_property
    def place(self) -> tuple[str, ...]:
        """The parts of the place that `param` names; empty where it names none."""
        param = str(self.error.get("param") or "")
        return () if " " in param else tuple(part for part in SEPARATORS.split(param) if part)

    @cached_property
    def unsupported(self) -> bool:
        """Whether something is refused as such, and not for its value."""
        code, kind = str(self.error.get("code")).lower(), str(self.error.get("type")).lower()
        return bool({code, kind} & UNSUPPORTED_CODES or UNSUPPORTED.search(self.words))

    @property
    def of_request(self) -> bool:
        """Whether the request was refused, and not its provider in trouble."""
        return self.status in REFUSED

    @property
    def in_a_failure(self) -> bool:
        """Whether a server's failure is a refusal of the request all the same: by its chat template, or in words."""
        return self.unsupported or self.about_tools or bool(TEMPLATE.search(self.words))

    @property
    def too_long(self) -> bool:
        """Whether the request was too long."""
        return self.status == 413 or bool(TOO_LONG.search(f"{self.error.get('code')} {self.words}"))  # noqa: PLR2004 - HTTP's number

    @property
    def about_tools(self) -> bool:
        """Whether tools are named."""
        return "tools" in self.place or bool(TOOLS.search(self.words))

    def names(self, field: str) -> bool:
        """Whether the refusal is about this field of a request or a message."""
        if field in self.place:
            return True
        # Some have their own spelling, such as presencePenalty.
        spelled = f"{re.escape(field)}|{field.replace('_', '')}"
        pattern = rf"(?<![A-Za-z0-9_])({spelled})(?![A-Za-z0-9_])"
        if field in AMBIGUOUS:
            pattern = rf"[`'\"./]{re.escape(field)}[`'\"]|[./]{re.escape(field)}(?=[:\s]|$)"
        return bool(re.search(pattern, self.words))

    def elsewhere(self, payload: Mapping[str, Any], *fields: str) -> bool:
        """Whether `param` names a field of the request that is none of these."""
        return bool(self.place) and self.place[0] in payload and self.place[0] not in fields
