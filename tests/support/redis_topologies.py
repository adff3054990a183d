"""Redis in its other two topologies, of real processes: a cluster of six, and a master with a replica and sentinels."""

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager

from tests.support.kube import eventually
from tests.support.redis import RedisServer, redis_program
from tests.support.server import START_SECONDS, free_port, running
from tests.support.tls import Authority

MASTERS = 3
REPLICAS_EACH = 1
SENTINELS = 3
QUORUM = 2
MASTER_NAME = "assistant"

NODE_TIMEOUT_MILLISECONDS = 2000
"""Until a node that does not answer counts as failed: short, as a test waits for it."""


class ClusterNode(RedisServer):
    """A server in cluster mode, without slots of its own at first."""

    def argv(self) -> list[str]:
        # The bus's port is 10000 above the other by default, which may be too high or taken.
        options = {"cluster-enabled": "yes", "cluster-port": free_port()}
        options |= {"cluster-node-timeout": NODE_TIMEOUT_MILLISECONDS, "appendonly": "yes"}
        if self.authority is not None:
            options["tls-cluster"] = "yes"
        return [*super().argv(), *(word for name, value in options.items() for word in (f"--{name}", str(value)))]

    @property
    def is_master(self) -> bool:
        """Tell what role it has now."""
        return b"role:master" in self.command("INFO", "replication")


def _is_whole(node: ClusterNode) -> bool:
    """Tell whether a node, if it runs, serves and can take over: a replica that never had a copy is not elected."""
    if not node.answers():
        return True
    has_copy = node.is_master or b"master_link_status:up" in node.command("INFO", "replication")
    return has_copy and b"cluster_state:ok" in node.command("CLUSTER", "INFO")


class RedisCluster:
    """Three masters, each with a replica."""

    def __init__(self, nodes: list[ClusterNode]) -> None:
        self.nodes = nodes
        self.url = nodes[0].url.removesuffix("/0")

    def masters(self) -> list[ClusterNode]:
        """Give the nodes that run and are masters."""
        return [node for node in self.nodes if node.answers() and node.is_master]

    def wait(self, masters: int = MASTERS) -> None:
        """Wait until that many masters serve all slots."""
        eventually(
            lambda: len(self.masters()) == masters and all(map(_is_whole, self.nodes)),
            "the cluster is whole",
            timeout=START_SECONDS,
        )


class Replica(RedisServer):
    """A copy of the server on port `master`."""

    def __init__(self, folder: str, master: int, authority: Authority | None) -> None:
        super().__init__(folder, authority)
        self._master = master

    def argv(self) -> list[str]:
        return [*super().argv(), "--replicaof", "127.0.0.1", str(self._master)]


class Sentinel(RedisServer):
    """Watches the master on port `master`, and with others makes its replica the master when it is gone."""

    def __init__(self, folder: str, master: int, authority: Authority | None) -> None:
        super().__init__(folder, authority)
        self._master = master

    def argv(self) -> list[str]:
        file = self.folder / "sentinel.conf"
        if not file.exists():  # it keeps there what it has learnt
            listening = "\n".join(f"{name} {value}" for name, value in self.listening().items())
            file.write_text(f"""\
{listening}
bind 127.0.0.1
dir {self.folder}
sentinel monitor {MASTER_NAME} 127.0.0.1 {self._master} {QUORUM}
sentinel down-after-milliseconds {MASTER_NAME} {NODE_TIMEOUT_MILLISECONDS}
sentinel failover-timeout {MASTER_NAME} 10000
""")
        return [redis_program("redis-server"), str(file), "--sentinel"]


class RedisSentinels:
    """A master, a replica and sentinels."""

    def __init__(self, servers: list[RedisServer], sentinels: list[Sentinel]) -> None:
        self.servers, self.sentinels = servers, sentinels
        self.master_name = MASTER_NAME
        self.url = ",".join(f"redis://127.0.0.1:{each.port}" for each in sentinels)

    def master(self) -> RedisServer:
        """Give the server that the sentinels call the master."""
        answer = self.sentinels[0].command("SENTINEL", "GET-MASTER-ADDR-BY-NAME", MASTER_NAME).split(b"\r\n")
        return next(each for each in self.servers if str(each.port).encode() in answer)

    def wait(self) -> None:
        """Wait until each sentinel knows the others and the replica."""

        def is_whole(sentinel: Sentinel) -> bool:
            answer = sentinel.command("SENTINEL", "CKQUORUM", MASTER_NAME)
            known = sentinel.command("SENTINEL", "REPLICAS", MASTER_NAME)
            return f"OK {SENTINELS} usable".encode() in answer and b"master-link-status\r\n$2\r\nok" in known

        eventually(lambda: all(map(is_whole, self.sentinels)), "the sentinels know each other", timeout=START_SECONDS)


@contextmanager
def run_redis_cluster(authority: Authority | None = None) -> Iterator[RedisCluster]:
    """Run a cluster of three masters and three replicas, over TLS where an authority signs their certificates."""
    with ExitStack() as stack:
        nodes = [
            stack.enter_context(running(lambda folder: ClusterNode(folder, authority)))
            for _ in range(MASTERS * (1 + REPLICAS_EACH))
        ]
        addresses = [f"127.0.0.1:{node.port}" for node in nodes]
        options = ["--cluster-replicas", str(REPLICAS_EACH), "--cluster-yes"]
        if authority is not None:
            options += ["--tls", "--cacert", str(authority.certificate)]
        command = [redis_program("redis-cli"), "--cluster", "create", *addresses, *options]
        made = subprocess.run(command, check=False, capture_output=True, text=True)
        assert made.returncode == 0, made.stdout + made.stderr
        cluster = RedisCluster(nodes)
        cluster.wait()
        yield cluster


@contextmanager
def run_redis_sentinels(authority: Authority | None = None) -> Iterator[RedisSentinels]:
    """Run a master, its replica and three sentinels, over TLS where an authority signs their certificates."""
    with ExitStack() as stack:
        first = stack.enter_context(running(lambda folder: RedisServer(folder, authority)))
        replica = stack.enter_context(running(lambda folder: Replica(folder, first.port, authority)))
        sentinels = [
            stack.enter_context(running(lambda folder: Sentinel(folder, first.port, authority)))
            for _ in range(SENTINELS)
        ]
        made = RedisSentinels([first, replica], sentinels)
        made.wait()
        yield made
