"""What a failure means: whose fault it is, whether another provider may do better, and what the client hears.

| the provider says | the client gets | another is asked | counts against it |
| --- | --- | --- | --- |
| 400, 404, 409, 413, 415, 422, 451 | the same | no | no |
| 401; 403 about the key; 400 about the key | 502, without the text, which quotes keys | yes | yes |
| 403 about what was asked (moderation) | 403 with the reason | no | no |
| 403 with any other reason | 403 with the reason | yes | no |
| 402, or a used-up quota | 502, or 429 | yes | yes |
| 429 | 429 with Retry-After | yes | no |
| 408, 504, 524 | 504 | yes | yes |
| 498, 503, 529 | 503 | yes | yes |
| anything else, and errors in a 200 | 502 | yes | yes |
"""

import re
from collections.abc import Callable, Mapping
from typing import Any

from assistant_runtime import json_text
from assistant_runtime.errors import ProviderError
from assistant_runtime.providers.dialect.errors import error_in

MAX_REASON_CHARACTERS = 500
"""Enough of a provider's message to act on."""

PASSED_ON = frozenset({400, 404, 409, 413, 415, 422, 451})
"""Statuses that are about the client's request: another provider would say the same."""

TOLD_AS = {408: 504, 498: 503, 503: 503, 504: 504, 524: 504, 529: 503}
"""Statuses by which the client hears of a provider in trouble; 502 for any other."""

MODERATED = re.compile(
    r"moderat|flagged|usage (policy|policies|guideline)|content (policy|policies|guideline|violat|filter|management)"
    r"|guideline|safety|unsafe|harmful|inappropriate|prohibited|guardrail|sensitive|violat|敏感|违规"
)

ABOUT_KEY = re.compile(
    r"api.?key|\bkeys?\b|token.{0,20}(invalid|expired)|credential|permission|authenti|authori[sz]|forbidden|denied"
    r"|unsupported.country|country|region|organi[sz]ation|account|billing|subscription|\bplan\b|allow.?list|ip address"
)

KEY_CODES = frozenset({"invalid_api_key", "api_key_invalid", "authentication_error", "invalid_authentication"})
BAD_KEY = re.compile(
    r"(your |the )?api.?key.{0,20}(not valid|invalid|expired|not found)|(invalid|incorrect|expired).{0,10}api.?key"
)
"""At the beginning of a message: what follows may be the client's own words."""


QUOTA_CODES = frozenset({"insufficient_quota", "arrearage", "budget_exceeded", "insufficient_balance"})
NO_CREDIT = re.compile(
    r"insufficient.{0,10}(quota|balance|credit|fund)|budget has been exceeded|you exceeded your current quota"
)


class Verdicts:
    """Makes errors of what one provider answers.

    Parameters
    ----------
    provider
        Its name.
    mask
        Takes the provider's key out of a text.
    """

    def __init__(self, provider: str, mask: Callable[[str], str]) -> None:
        self._provider = provider
        self._mask = mask

    def of_status(self, status: int, body: bytes, retry_after: str | None) -> ProviderError:
        """Give the error for an answer with a status other than 200."""
        error = self._masked(error_in(_decoded(body)))
        if status in {401, 403} or (status in PASSED_ON and _is_about(error, KEY_CODES, BAD_KEY)):
            return self._denied(status, error)
        if status == 402 or _is_about(error, QUOTA_CODES, NO_CREDIT):  # noqa: PLR2004 - HTTP's number
            return self._error(429 if status == 429 else 502, status, error, "provider_quota_exceeded", retry_after)  # noqa: PLR2004
        if status in PASSED_ON:
            code = "model_not_found" if status == 404 else "provider_rejected"  # noqa: PLR2004
            return self._error(status, status, error, code, fallback=False)
        if status == 429:  # noqa: PLR2004
            return self._error(429, status, error, "provider_rate_limited", retry_after, at_fault=False)
        return self._error(TOLD_AS.get(status, 502), status, error, "provider_error", retry_after)

    def of_answer(self, payload: Any, code: str = "provider_error") -> ProviderError:
        """Give the error for one that came with 200: the provider failed, whatever number it gives."""
        error = self._masked(error_in(payload))
        code_given = str(error["code"])
        status = int(code_given) if code_given.isdecimal() else 0
        reason = f"provider {self._provider} failed: {error['message'] or 'no reason given'}"
        return ProviderError(502, reason, code=code, error=error, provider_status=status if 400 <= status < 600 else 0)  # noqa: PLR2004

    def _denied(self, status: int, error: dict[str, Any]) -> ProviderError:
        said = f"{error['code']} {error['message']}".lower()
        if status == 403 and error["message"]:  # noqa: PLR2004 - HTTP's number
            metadata = error.get("metadata")
            if MODERATED.search(said) or (isinstance(metadata, dict) and metadata.get("reasons")):
                return self._error(403, status, error, "provider_rejected", fallback=False)
            if not ABOUT_KEY.search(said):
                return self._error(403, status, error, "provider_rejected", at_fault=False)
        # The provider's text is left out: it quotes the key.
        reason = f"provider {self._provider} refused the runtime's key ({status})"
        return ProviderError(502, reason, code="provider_auth_error", provider_status=status)

    def _error(
        self,
        status: int,
        provider_status: int,
        error: Mapping[str, Any],
        code: str,
        retry_after: str | None = None,
        **more: bool,
    ) -> ProviderError:
        reason = f"provider {self._provider} answered {provider_status}: {error['message'] or 'no reason given'}"
        return ProviderError(
            status, reason, code=code, retry_after=retry_after, error=error, provider_status=provider_status, **more
        )

    def _masked(self, error: dict[str, Any]) -> dict[str, Any]:
        error["message"] = self._mask(error["message"])[:MAX_REASON_CHARACTERS]
        if error["param"]:
            error["param"] = self._mask(error["param"])[:MAX_REASON_CHARACTERS]
        return error


def _is_about(error: Mapping[str, Any], codes: frozenset[str], words: re.Pattern[str]) -> bool:
    found = {str(error.get(name)).lower() for name in ("code", "type", "reason")}
    return bool(found & codes or words.match(str(error["message"]).lower()))


def _decoded(body: bytes) -> Any:
    """Give an error's body as JSON; a text is its own message, and a page has none."""
    try:
        return json_text.loads(body)
    except ValueError:
        text = body[: 4 * MAX_REASON_CHARACTERS].decode("utf-8", "replace").strip()
        return "" if text.startswith("<") else text
