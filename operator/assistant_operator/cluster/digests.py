"""Long texts of objects, kept as their digests: a ConfigMap may have a mebibyte, and is only ever compared.

Whoever may create an object in a namespace may give it the operator's label, so what one object costs is bounded here.
"""

import hashlib
from typing import Any

LONGEST = 2048
"""Characters of a text that is kept as it is."""
_DIGEST = "sha256"


def digested(value: Any) -> Any:
    """Return a value with the digest of each long text in its place, as a dictionary, which no text is equal to."""
    if isinstance(value, str) and len(value) > LONGEST:
        return {_DIGEST: hashlib.sha256(value.encode(errors="surrogatepass")).hexdigest()}
    if isinstance(value, dict):
        return {key: digested(child) for key, child in value.items()}
    if isinstance(value, list):
        return [digested(child) for child in value]
    return value


def shortened(value: Any) -> Any:
    """Return a value with the beginning of each long text in its place: for what is read to people, as a status is."""
    if isinstance(value, str) and len(value) > LONGEST:
        return f"{value[: LONGEST - 1]}…"
    if isinstance(value, dict):
        return {key: shortened(child) for key, child in value.items()}
    if isinstance(value, list):
        return [shortened(child) for child in value]
    return value


def same_text(wanted: Any, live: Any) -> bool:
    """Tell whether a value is the text that `digested` gave the digest of."""
    return bool(digested(wanted) == live)
