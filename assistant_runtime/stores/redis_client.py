"""The connection to each of Redis's topologies: one server, a master that Sentinels name, or a Cluster.

Nothing is retried behind our back: a command that fails is given up, and the probe finds the new master. Only a Cluster
asks again at once, because that is how its client learns where a key has moved.
"""

from contextlib import suppress
from typing import Any

from redis.asyncio import ConnectionPool, Redis, RedisCluster, Sentinel
from redis.asyncio.cluster import ClusterNode
from redis.asyncio.connection import SSLConnection, parse_url
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import MasterNotFoundError
from redis.backoff import NoBackoff
from redis.exceptions import AuthenticationError, RedisError

from assistant_runtime.settings import Settings
from assistant_runtime.settings.stores import redis_nodes
from assistant_runtime.stores import redis as stores
from assistant_runtime.stores.redis_cluster import ClusterConnection
from assistant_runtime.trust import NOT_CHECKED, distrust

CLUSTER_RETRIES = 2
"""Once after the map of slots was learned anew, and once more in the middle of a fail-over; bounded by the time that a
command has."""

SHARE = 1 / 3
"""Of a command's time, for one of several servers: the address of a pod that is gone answers nothing at all, and the
others must have been asked by then."""


def redis_connection(settings: Settings) -> stores.RedisConnection:
    """Give the connection for REDIS_URL and REDIS_TOPOLOGY; it connects with its first command."""
    if settings.redis_url is None:
        raise ValueError("there is no REDIS_URL")
    nodes = [parse_url(url) for url in redis_nodes(settings.redis_url.get_secret_value())]
    options = {**nodes[0], **_beside(settings), **_bounds()}
    if options.get("connection_class") is SSLConnection:
        options["ssl_exclude_verify_flags"] = NOT_CHECKED
    hosts = [(options.pop("host", "localhost"), int(options.pop("port", 6379)))]
    hosts += [(str(node["host"]), int(node.get("port", 6379))) for node in nodes[1:]]
    if settings.redis_topology == "cluster":
        return ClusterConnection(_cluster(hosts, options))
    if settings.redis_topology == "sentinel":
        return _behind_sentinels(hosts, options, settings)
    host, port = hosts[0]
    if "path" not in options:
        options |= {"host": host, "port": port}
    return stores.RedisConnection(Redis.from_pool(ConnectionPool(max_connections=stores.MAX_CONNECTIONS, **options)))


def _beside(settings: Settings) -> dict[str, Any]:
    """Give what stands in variables of its own, beside the URL."""
    password = settings.redis_password.get_secret_value() if settings.redis_password else None
    given: dict[str, Any] = {"username": settings.redis_username, "password": password}
    if settings.redis_ca_file:
        given |= {"ssl_ca_certs": settings.redis_ca_file, "connection_class": SSLConnection}
    return {name: value for name, value in given.items() if value is not None}


def _bounds() -> dict[str, Any]:
    return {
        "socket_timeout": stores.COMMAND_SECONDS,
        "socket_connect_timeout": stores.COMMAND_SECONDS,
        "retry": Retry(NoBackoff(), 0),
        "client_name": "assistant-runtime",
    }


def _cluster(hosts: list[tuple[str, int]], options: dict[str, Any]) -> RedisCluster:
    tls = options.pop("connection_class", None) is SSLConnection
    options.pop("db", None)
    options |= {"retry": Retry(NoBackoff(), CLUSTER_RETRIES), "socket_connect_timeout": stores.COMMAND_SECONDS * SHARE}
    nodes = [ClusterNode(host, port) for host, port in hosts]
    return RedisCluster(startup_nodes=nodes, ssl=tls, max_connections=stores.MAX_CONNECTIONS, **options)


class SentinelConnection(stores.RedisConnection):
    """The master that Sentinels name, and the Sentinels, which have connections of their own."""

    def __init__(self, sentinel: Sentinel, master: Redis) -> None:
        super().__init__(master)
        self._sentinel = sentinel

    async def ping(self) -> None:
        """Ask whether the master serves; where no Sentinel names one, find out whether they or we refuse the other."""
        try:
            await super().ping()
        except MasterNotFoundError as error:
            # redis-py keeps of their errors no more than the kind.
            try:
                await self._sentinel.sentinels[0].ping()
            except RedisError as refusal:
                if isinstance(refusal, AuthenticationError) or distrust(refusal, "REDIS_CA_FILE"):
                    raise refusal from error
            raise

    def reason(self, error: Exception) -> str:
        """Say what is wrong, also with the password of the Sentinels."""
        if isinstance(error, AuthenticationError) and isinstance(error.__cause__, MasterNotFoundError):
            return "the Sentinels refuse the password in REDIS_SENTINEL_PASSWORD or, without it, that of REDIS_URL"
        return super().reason(error)

    async def renew(self) -> None:
        """Drop every connection that no command uses, also those to the Sentinels."""
        await super().renew()
        for each in self._sentinel.sentinels:
            with suppress(RedisError, OSError):
                await each.connection_pool.disconnect(inuse_connections=False)

    async def disconnect(self) -> None:
        """Close every connection."""
        await super().disconnect()
        await self._sentinel.aclose()


def _behind_sentinels(
    hosts: list[tuple[str, int]], options: dict[str, Any], settings: Settings
) -> stores.RedisConnection:
    tls = options.pop("connection_class", None) is SSLConnection
    asked = {**_of_sentinels(options, settings), "ssl": tls}
    sentinel = Sentinel(hosts, sentinel_kwargs=asked)
    name = settings.redis_sentinel_master
    master: Redis = sentinel.master_for(name, ssl=tls, max_connections=stores.MAX_CONNECTIONS, **options)
    return SentinelConnection(sentinel, master)


def _of_sentinels(options: dict[str, Any], settings: Settings) -> dict[str, Any]:
    """Give the options for the Sentinels: those of Redis without the database, and perhaps with another password."""
    bounds = dict.fromkeys(("socket_timeout", "socket_connect_timeout"), stores.COMMAND_SECONDS * SHARE)
    shared = {key: value for key, value in options.items() if key != "db"} | bounds
    if settings.redis_sentinel_auth_enabled and settings.redis_sentinel_password is None:
        return shared
    # A server without a password refuses a client that sends one.
    account: dict[str, str | None] = {"username": None, "password": None}
    if settings.redis_sentinel_auth_enabled and settings.redis_sentinel_password:
        account["password"] = settings.redis_sentinel_password.get_secret_value()
    return shared | account
