"""Redis in the spec: response cache, rate limits and the hot state of sessions."""

from assistant_operator.rules import Rule
from assistant_operator.spec.base import Backend, External, ManagedServer, Resources, one_mode
from assistant_operator.values import RedisURL, Size, quantity


def _memory_fits(redis: "ManagedRedis") -> bool:
    limit = (redis.resources.limits or {}).get("memory")
    return limit is None or quantity(redis.max_memory) < quantity(limit)


class ManagedRedis(ManagedServer):
    """A Redis that the operator runs: one server with an append-only file on a volume."""

    rules = (
        Rule(
            cel=(
                "!has(self.resources.limits) || !('memory' in self.resources.limits) || "
                "quantity(string(self.maxMemory)).isLessThan(quantity(string(self.resources.limits['memory'])))"
            ),
            message=(
                "maxMemory: must be less than resources.limits.memory, with room for rewriting the append-only file; "
                "half of the limit is a good value"
            ),
            holds=_memory_fits,
        ),
    )

    resources: Resources = Resources(
        requests={"cpu": "100m", "memory": "256Mi"}, limits={"cpu": "500m", "memory": "1Gi"}
    )
    """Compute resources of the server. Memory needs room beyond `maxMemory` for rewriting the append-only file."""
    max_memory: Size = "512Mi"
    """Memory for data; above it the least recently used keys go first (allkeys-lru)."""


class ExternalRedis(External):
    """A Redis that runs elsewhere."""

    url: RedisURL | None = None
    """URL of the server, such as redis://redis.example.com:6379/0, or rediss:// for TLS."""


class Redis(Backend):
    """Redis: response cache and rate limits."""

    rules = (one_mode("managed", "external"),)

    enabled: bool = True
    """Whether the assistant uses Redis. Without it each runtime pod keeps its own cache and its own limits."""
    managed: ManagedRedis | None = None
    """Settings of the Redis that the operator runs."""
    external: ExternalRedis | None = None
    """A Redis that runs elsewhere."""
