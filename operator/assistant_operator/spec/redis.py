"""Redis in the spec: response cache, rate limits and the hot state of sessions."""

import re
from typing import Annotated, Literal

from pydantic import Field

from assistant_operator.spec.base import (
    Backend,
    External,
    ManagedServer,
    OperatorRef,
    PasswordKeyRef,
    Resources,
    accepted_kinds,
    one_mode,
)
from assistant_operator.spec.rules import Rule
from assistant_operator.spec.values import RedisURL, Size, quantity

KINDS = tuple(("redis.redis.opstreelabs.in", kind) for kind in ("RedisCluster", "RedisReplication", "RedisSentinel"))
"""API groups and kinds that `operatorRef` may name."""

_OTHER_DATABASE = "[^/]/[1-9][0-9]*([?]|$)|[?&]db=[1-9]"
"""What a URL that asks for another database than 0 matches."""


def _memory_fits(redis: "ManagedRedis") -> bool:
    limit = (redis.resources.limits or {}).get("memory")
    return limit is None or quantity(redis.max_memory) < quantity(limit)


class ManagedRedis(ManagedServer):
    """A Redis that the operator runs, with an append-only file on a volume."""

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

    topology: Literal["standalone", "cluster"] = "standalone"
    """One server, or a cluster of three masters with a replica each. Each keeps volumes of its own."""
    resources: Resources = Resources(
        requests={"cpu": "50m", "memory": "256Mi"}, limits={"cpu": "500m", "memory": "1Gi"}
    )
    """Compute resources of each server. Memory needs room beyond `maxMemory` for rewriting the append-only file."""
    max_memory: Size = "512Mi"
    """Memory for data of each server; above it cached answers go first, and counts of limits last (volatile-ttl)."""


class ExternalRedis(External):
    """A Redis that runs elsewhere."""

    rules = (
        *External.rules,
        Rule(
            cel="(self.topology == 'sentinel') == has(self.sentinelMaster)",
            message=(
                "sentinelMaster: with topology sentinel, give the name by which the sentinels know the master, such as "
                "mymaster; leave it out with any other topology"
            ),
            holds=lambda external: (external.topology == "sentinel") == bool(external.sentinel_master),
        ),
        Rule(
            cel="self.topology == 'sentinel' || (self.sentinelAuthEnabled && !has(self.sentinelPasswordFrom))",
            message="sentinelPasswordFrom, sentinelAuthEnabled: leave them out with any topology but sentinel",
            holds=lambda external: (
                external.topology == "sentinel"
                or (external.sentinel_auth_enabled and external.sentinel_password_from is None)
            ),
        ),
        Rule(
            cel="self.sentinelAuthEnabled || !has(self.sentinelPasswordFrom)",
            message="sentinelPasswordFrom: leave it out, or sentinelAuthEnabled: false",
            holds=lambda external: external.sentinel_auth_enabled or external.sentinel_password_from is None,
        ),
        Rule(
            cel=f"self.topology != 'cluster' || !has(self.url) || !self.url.matches('{_OTHER_DATABASE}')",
            message="external.url: a Redis Cluster has database 0 alone; end the URL with /0",
            holds=lambda external: (
                external.topology != "cluster" or not (external.url and re.search(_OTHER_DATABASE, external.url))
            ),
        ),
    )

    url: RedisURL | None = None
    """URL of the server, such as redis://redis.example.com:6379/0, or rediss:// for TLS."""
    topology: Literal["standalone", "cluster", "sentinel"] = "standalone"
    """What the URL leads to: one server, any server of a cluster, or a sentinel."""
    sentinel_master: Annotated[str, Field(min_length=1, max_length=253, pattern="^[A-Za-z0-9._-]+$")] | None = None
    """Name by which the sentinels know the master."""
    sentinel_password_from: PasswordKeyRef | None = None
    """Secret key that holds the sentinels' own password. Default: they have the user and password of Redis."""
    sentinel_auth_enabled: bool = True
    """Whether the sentinels ask for a password, where Redis does."""


class Redis(Backend):
    """Redis: response cache and rate limits."""

    rules = (one_mode("managed", "operatorRef", "external"), accepted_kinds(*KINDS))

    enabled: bool = True
    """Whether the assistant uses Redis. Without it each runtime pod keeps its own cache and its own limits."""
    managed: ManagedRedis | None = None
    """Settings of the Redis that the operator runs."""
    operator_ref: OperatorRef | None = None
    """An object of the OpsTree Redis operator, for more servers than one."""
    external: ExternalRedis | None = None
    """A Redis that runs elsewhere."""

    @property
    def settings(self) -> ManagedRedis:
        """Settings of the server that the operator runs: those given, or the defaults."""
        return self.managed or _DEFAULTS


_DEFAULTS = ManagedRedis()
"""Made once: a pass asks for them many times."""
