"""The block `cache`: the exact response cache."""

from assistant_operator.spec.base import Model
from assistant_operator.spec.values import TimeToLive


class Cache(Model):
    """The exact response cache, in Redis where there is one."""

    enabled: bool = True
    """Whether an identical request of the same client is answered from the cache."""
    ttl: TimeToLive = "1h"
    """How long an answer is kept."""
    compression: bool = True
    """Whether cached answers are compressed (zstd)."""
