"""Texts that programs wrote, without the secrets in them, however those are written. Pure."""

import base64
import binascii
import json
import re
from collections.abc import Iterable
from urllib.parse import quote

_SHORTEST_SECRET = 6
"""Characters of a word that is taken for a secret when a text is quoted."""
_HIDDEN = "***"
_ENCODED = re.compile(r"[A-Za-z0-9+/_-]{8,}={0,2}")
"""What may be base64, of either alphabet."""


def redacted(text: str, values: Iterable[str]) -> str:
    """Return a text without these values: as they are, within a URL, escaped as in JSON, and in base64."""
    secrets = {word for value in values for word in (value, *value.split()) if len(word) >= _SHORTEST_SECRET}
    written = {form for secret in secrets for form in _forms(secret)}
    for form in sorted(written, key=len, reverse=True):
        text = text.replace(form, _HIDDEN)
    return _ENCODED.sub(lambda found: _HIDDEN if _hides(found[0], secrets) else found[0], text)


def _forms(secret: str) -> Iterable[str]:
    yield secret
    yield quote(secret, safe="")
    for ascii_only in (True, False):
        yield json.dumps(secret, ensure_ascii=ascii_only)[1:-1]


def _hides(word: str, secrets: Iterable[str]) -> bool:
    """Tell whether base64 holds a secret, also with something around it as in the header of Basic authentication."""
    plain = word.rstrip("=").translate(str.maketrans("-_", "+/"))
    try:
        decoded = base64.b64decode(plain + "=" * (-len(plain) % 4)).decode(errors="replace")
    except binascii.Error:
        return False
    return any(secret in decoded for secret in secrets)
