"""Every object name that the operator chooses.

One limit serves all kinds. A StatefulSet's pods carry the label `controller-revision-hash`, whose value is the
StatefulSet's name and an eleven-character suffix, and label values end at 63 characters; so 52 is the longest name
that is safe for every kind that owns pods.
"""

import hashlib

MAX_LENGTH = 52
_HASH_LENGTH = 8


def child(assistant: str, *suffixes: str) -> str:
    """Name an object of an assistant: its name and the suffixes, joined by dashes.

    A name over 52 characters is cut, and ends in eight hexadecimal digits of the whole name's SHA-256, so that two
    long names stay apart.

    >>> child("demo", "redis")
    'demo-redis'
    """
    name = "-".join((assistant, *suffixes))
    if len(name) <= MAX_LENGTH:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:_HASH_LENGTH]
    return f"{name[: MAX_LENGTH - _HASH_LENGTH - 1].rstrip('-')}-{digest}"
