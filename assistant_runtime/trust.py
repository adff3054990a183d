"""Certificates of the servers that the runtime connects to: which are trusted, and what to do about one that is not.

Each driver tells a refused certificate in an exception of its own; what they share is OpenSSL's wording in its text.
"""

import re
import ssl
from pathlib import Path

_VERIFY_FAILED = re.compile(r"certificate verify failed: (.+?)[. ]*\(_ssl")
"""As OpenSSL's error is worded where a driver keeps no more of it."""

_OUT_OF_DATE = ("has expired", "not yet valid")
_OTHER_NAME = "mismatch"


NOT_CHECKED = [ssl.VERIFY_X509_STRICT]
"""Python 3.13 began to refuse certificates without identifiers of keys or the uses of a key, as OpenSSL's own commands
make them by default. Signatures, dates and names are checked all the same, and most drivers check no more."""


def trusting(ca_file: str | None) -> ssl.SSLContext:
    """Give what checks certificates and names: by a file of certificates in place of the system's, if there is one."""
    context = ssl.create_default_context(cafile=ca_file)
    for flag in NOT_CHECKED:
        context.verify_flags &= ~flag
    return context


def system_file() -> str | None:
    """Give the file with all that the system trusts, for libraries that would take authorities of their own instead."""
    paths = ssl.get_default_verify_paths()
    # OpenSSL's own name, and Debian's, beside the folder in which OpenSSL finds one file a certificate.
    candidates = [paths.cafile, f"{paths.capath}/ca-certificates.crt"]
    return next((file for file in candidates if file and Path(file).is_file()), None)


def distrust(error: BaseException, setting: str) -> str:
    """Say why a server's certificate was refused, and what to do; empty if the error is another.

    Parameters
    ----------
    setting
        What names the certificates to trust, such as REDIS_CA_FILE.
    """
    found = _VERIFY_FAILED.search(str(error))
    if found is None:
        return ""
    reason = found[1]
    if _OTHER_NAME in reason:
        return f"has a certificate of another name ({reason}): write a name that is in the certificate into its URL"
    if any(words in reason for words in _OUT_OF_DATE):
        return f"has a certificate that is out of date ({reason}): renew it, or set the clock of this machine"
    return f"has a certificate that is not trusted ({reason}): set {setting} to the authority that it comes from"
