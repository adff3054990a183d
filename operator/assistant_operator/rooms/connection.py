"""Who calls whom: the ways that packets take, declared by whoever opens them.

A Binding says where a server is; a Connection says that the pods of one part call it. Network policies need both ends,
and the calls that have no binding too: those of a component's servers among themselves, and those of its Jobs.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from urllib.parse import urlsplit

from assistant_operator import labels
from assistant_operator.rooms.binding import Binding
from assistant_operator.spec.base import KeyRef

ANYWHERE = "*"
"""The host of who fetches pages that people and models name."""
_PORTS = {
    "http": 80,
    "https": 443,
    "redis": 6379,
    "rediss": 6379,
    "mongodb": 27017,
    "postgresql": 5432,
    "postgres": 5432,
}


@dataclass(frozen=True)
class Connection:
    """A way from the pods of one part of an assistant to one place."""

    source: str
    """Label value of the pods that open it."""
    part: str | None = None
    """Label value of the pods that take it, where they are the assistant's own."""
    host: str | None = None
    """Name or address of a host elsewhere, or `ANYWHERE`."""
    secret: KeyRef | None = None
    """Key of the Secret that has the address, where only that has it."""
    port: int | None = None
    """Port at the pods or host; None where the address does not say."""


def to_url(source: str, url: str | KeyRef) -> Iterator[Connection]:
    """Yield the ways to the hosts of a URL, or to the place that a Secret names."""
    if isinstance(url, KeyRef):
        yield Connection(source, secret=url)
        return
    parts = urlsplit(url)
    for address in parts.netloc.rpartition("@")[2].split(","):
        one = urlsplit(f"//{address}")
        yield Connection(source, host=one.hostname, port=one.port or _PORTS.get(parts.scheme))


def to_binding(source: str, binding: Binding) -> Iterator[Connection]:
    """Yield the ways to a server, whoever runs it."""
    if binding.pod_labels:
        yield Connection(source, part=binding.pod_labels[labels.NAME], port=binding.port)
    else:
        yield from to_url(source, binding.url)
