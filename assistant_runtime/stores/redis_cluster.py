"""A Redis Cluster, and whether it answers: what its client has to be told, because it does not find out by itself."""

from redis.asyncio import RedisCluster
from redis.exceptions import ClusterDownError

from assistant_runtime.stores.redis import RedisConnection


class ClusterConnection(RedisConnection):
    """A Redis Cluster, and whether it answers.

    The client learns where a key is from the servers' redirections, and asks for the whole map after an error that it
    sees. What it does not see is a server that says nothing, for then our time is up first; and it forgets the hosts
    of REDIS_URL once it knows the servers' own addresses, all of which may change. So after any failure its map is
    drawn anew, from all the servers that it knows and those that it was given.
    """

    async def ping(self) -> None:
        """Ask every master, and one of them whether the Cluster serves."""
        await self.client.ping(target_nodes=RedisCluster.PRIMARIES)
        state = await self.client.cluster_info(target_nodes=RedisCluster.DEFAULT_NODE)
        if state.get("cluster_state") != "ok":
            raise ClusterDownError("the Cluster does not serve every key")

    async def renew(self) -> None:
        """Drop every connection, and the map, which may be wrong."""
        await self.client.aclose()  # it connects and draws the map with its next command
        given = {node.name: node for node in self.client.startup_nodes}
        self.client.nodes_manager.startup_nodes |= given
