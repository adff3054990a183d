"""A Redis Cluster: three masters with a replica each, formed and mended by a Job.

A pod that comes back has its data and its place in the cluster on its volume, and another address. It tells the others
itself; where all came back at once, nobody knows anybody, and the Job introduces them.
"""

from assistant_operator import names
from assistant_operator.rooms import manifests
from assistant_operator.rooms.binding import Binding
from assistant_operator.rooms.connection import Connection
from assistant_operator.rooms.facts import Facts
from assistant_operator.rooms.manifests import Object
from assistant_operator.rooms.probes import command
from assistant_operator.rooms.setup import Setup
from assistant_operator.servers import redis, scripts
from assistant_operator.servers.base import Server, headless_service, pod_template, setup, stateful_set

SERVERS = 6
_BUS_PORT = redis.PORT + 10_000

_NODE_TIMEOUT_MILLISECONDS = 5000
"""Silence after which a master counts as lost: its replica takes over a second or two later."""
OPTIONS = (
    "cluster-enabled yes",
    "cluster-config-file /data/nodes.conf",
    f"cluster-node-timeout {_NODE_TIMEOUT_MILLISECONDS}",
    # While one master is replaced, the others go on to serve what is theirs.
    "cluster-require-full-coverage no",
)
"""What the configuration of each server has for the cluster."""
_SERVES = command("sh", "-c", "redis-cli cluster info | grep -q '^cluster_state:ok'")
_SCRIPTS = "/etc/redis/scripts"
_SCRIPT_NAMES = ("redis-cluster.sh", "redis-hand-over.sh")


def binding(server: Server) -> Binding:
    """Return how the cluster is reached: by any of its servers, which name the others."""
    one = redis.binding(server)
    return Binding(one.url, port=one.port, pod_labels=one.pod_labels, settings={"TOPOLOGY": "cluster"})


def objects(server: Server, facts: Facts, *options: str) -> list[Object]:
    """Build the cluster's objects; `options` are further lines of its servers' configuration."""
    config = redis.configuration(*OPTIONS, *options)
    texts = {name: scripts.read(name) for name in _SCRIPT_NAMES}
    files = {"redis.conf": config, **texts}
    nodes = names.child(server.assistant.name, f"{server.component}-nodes")
    return [
        manifests.config_map(server.name, server.assistant, server.component, files),
        manifests.service(server.name, server.assistant, server.component, redis.PORT, "redis"),
        headless_service(nodes, server, redis.PORT, "redis"),
        _stateful_set(server, facts, nodes, redis.config_hash(server, facts, config, texts["redis-hand-over.sh"])),
    ]


def setups(server: Server, facts: Facts) -> list[Setup]:
    """Return what forms the cluster of just these pods, and repairs it."""
    pods = facts.pods.get(server.component, ())
    return setup(
        server,
        facts,
        SERVERS,
        user_id=redis.USER_ID,
        command=["sh", f"{_SCRIPTS}/redis-cluster.sh", *(f"{pod.ip}:{redis.PORT}" for pod in pods)],
        env=[redis.password(server)],
        volumes=[_scripts_volume(server)],
        mounts=[_scripts_mount()],
        reads=redis.config_hash(server, facts, scripts.read("redis-cluster.sh")),
    )


def connections(server: Server) -> list[Connection]:
    """Return the ways of the servers among themselves, and of what joins them."""
    own = server.component
    return [
        Connection(own, part=own, port=redis.PORT),
        Connection(own, part=own, port=_BUS_PORT),
        Connection(f"{own}-setup", part=own, port=redis.PORT),
    ]


def _stateful_set(server: Server, facts: Facts, nodes: str, config_hash: str) -> Object:
    volumes = redis.volumes(server)
    template = pod_template(
        server,
        user_id=redis.USER_ID,
        containers=[_container(server, facts)],
        volumes=[*volumes, _scripts_volume(server)],
        config_hash=config_hash,
        terminationGracePeriodSeconds=redis.GRACE_SECONDS,
        topologySpreadConstraints=manifests.spread(server.selector),
    )
    # All start at once: none is ready before the cluster is formed.
    return stateful_set(server, template, replicas=SERVERS, service=nodes, podManagementPolicy="Parallel")


def _container(server: Server, facts: Facts) -> Object:
    container = redis.redis_container(server, facts, ready=_SERVES)
    address = manifests.pod_ip("POD_IP")
    return {
        **container,
        "command": [*container["command"], "--cluster-announce-ip", "$(POD_IP)"],
        "ports": [
            *container["ports"],
            {"name": "bus", "containerPort": _BUS_PORT, "protocol": "TCP"},
        ],
        "env": [*container["env"], address],
        "lifecycle": {"preStop": {"exec": {"command": ["sh", f"{_SCRIPTS}/redis-hand-over.sh"]}}},
        "volumeMounts": [*container["volumeMounts"], _scripts_mount()],
    }


def _scripts_volume(server: Server) -> Object:
    items = [{"key": name, "path": name} for name in _SCRIPT_NAMES]
    return {"name": "scripts", "configMap": {"name": server.name, "items": items}}


def _scripts_mount() -> Object:
    return {"name": "scripts", "mountPath": _SCRIPTS, "readOnly": True}
