"""MongoDB: conversations, the audit log, and the jobs of several writers; one server, or a replica set of three.

The official image's start makes the root user; what the runtime gets is a user with rights on its own database only.
"""

from collections.abc import Callable, Mapping

from assistant_operator.rooms import manifests
from assistant_operator.rooms.binding import Binding, Bindings
from assistant_operator.rooms.component import Component, ReferencedKind, Workload
from assistant_operator.rooms.connection import Connection
from assistant_operator.rooms.credentials import Credential, in_url
from assistant_operator.rooms.facts import Facts
from assistant_operator.rooms.manifests import Object, env
from assistant_operator.rooms.probes import Probe, command, probes
from assistant_operator.rooms.setup import Setup
from assistant_operator.servers import mongodb_community, percona_mongodb, scripts
from assistant_operator.servers.base import (
    Server,
    container,
    headless_service,
    mounted_keys,
    pod_template,
    setup,
    stateful_set,
)
from assistant_operator.spec.assistant import AIAssistant
from assistant_operator.spec.base import SecretKeyRef
from assistant_operator.spec.mongodb import ManagedMongoDB

NAME = "mongodb"
PORT = 27017

_USER_ID = 999
"""User `mongodb` of the official image."""
_GRACE_SECONDS = 60
"""A primary hands over before it ends, and writes a checkpoint."""
_DATABASE = "ai_assistant"
_USER = "assistant"
_REPLICA_SET = "rs0"
_MEMBERS = 3
_LISTEN = ("--ipv6", "--bind_ip", "127.0.0.1,$(POD_IP)")
"""Both families, without the address `::` of --bind_ip_all, which fails on a node whose kernel has no IPv6."""
_USER_SCRIPT = "mongodb-user.js"
_SET_SCRIPTS = ("mongodb-start.sh", "mongodb-setup.js")
_STANDALONE_SCRIPTS = ("mongodb-password.js",)
_AUTH = "/etc/mongodb/auth"
_SCRIPTS = "/etc/mongodb/scripts"
_KEY_TOKENS = 8
"""Random tokens that make a key file; it may hold 1024 characters of Base64, which dash and underscore are not."""


def _settings(assistant: AIAssistant) -> ManagedMongoDB:
    return assistant.spec.mongodb.settings


def _server(assistant: AIAssistant) -> Server:
    return Server(assistant, NAME, _settings(assistant), image=NAME)


def _is_set(server: Server) -> bool:
    return _settings(server.assistant).topology == "replicaSet"


def _hosts(server: Server) -> str:
    """Return the addresses of a set's members."""
    members = (f"{server.name}-{ordinal}.{server.name}" for ordinal in range(_MEMBERS))
    return ",".join(f"{member}.{server.assistant.namespace}.svc:{PORT}" for member in members)


def _credential(assistant: AIAssistant) -> Credential:
    server = _server(assistant)

    def fill(existing: Mapping[str, str], fresh: Callable[[], str]) -> dict[str, str]:
        password = existing.get("password") or fresh()
        user = f"mongodb://{_USER}:{in_url(password)}@"
        key = "".join(fresh() for _ in range(_KEY_TOKENS)).replace("-", "").replace("_", "")
        return {
            "root-password": existing.get("root-password") or fresh(),
            "password": password,
            "keyfile": existing.get("keyfile") or key,
            "url": f"{user}{server.name}:{PORT}/{_DATABASE}?authSource=admin",
            "replica-set-url": f"{user}{_hosts(server)}/{_DATABASE}?replicaSet={_REPLICA_SET}&authSource=admin",
        }

    return Credential(server.name, NAME, fill)


def _binding(assistant: AIAssistant) -> Binding:
    server = _server(assistant)
    key = "replica-set-url" if _is_set(server) else "url"
    return Binding(url=SecretKeyRef(name=server.name, key=key), port=PORT, pod_labels=server.selector)


def _texts(server: Server) -> dict[str, str]:
    """Return the scripts that its topology needs, by the names of their files."""
    names = (_USER_SCRIPT, *(_SET_SCRIPTS if _is_set(server) else _STANDALONE_SCRIPTS))
    return {name: scripts.read(name) for name in names}


def _objects(assistant: AIAssistant, facts: Facts, _: Bindings) -> list[Object]:
    server = _server(assistant)
    texts = _texts(server)
    return [
        manifests.config_map(server.name, assistant, NAME, texts),
        headless_service(server.name, server, PORT, "mongodb"),
        _stateful_set(server, facts, texts),
    ]


def _stateful_set(server: Server, facts: Facts, texts: Mapping[str, str]) -> Object:
    is_set = _is_set(server)
    keys = ("root-password", "password", *(("keyfile",) if is_set else ()))
    # The image runs every script that it finds in its folder for a volume's first start, so it finds one only.
    read = ("mongodb-start.sh",) if is_set else (_USER_SCRIPT,)
    volumes: list[Object] = [
        {"name": "scripts", "configMap": {"name": server.name, "items": [{"key": key, "path": key} for key in read]}},
        mounted_keys("auth", server.name, *keys),
        manifests.scratch("64Mi"),
    ]
    if is_set:
        volumes.append(manifests.scratch("1Mi", "run", medium="Memory"))
    template = pod_template(
        server,
        user_id=_USER_ID,
        containers=[_container(server, facts)],
        volumes=volumes,
        # MongoDB has the passwords in its data, where the Job changes them: it need not start anew for them.
        config_hash=facts.config_hash(
            [SecretKeyRef(name=server.name, key=key) for key in keys if key == "keyfile"], *(texts[key] for key in read)
        ),
        terminationGracePeriodSeconds=_GRACE_SECONDS,
        topologySpreadConstraints=manifests.spread(server.selector) if is_set else None,
    )
    # All members start at once: none is ready before the set is formed. It also makes the two topologies differ in what
    # Kubernetes never changes, so that a change is refused instead of being made with the data of one member.
    policy = "Parallel" if is_set else "OrderedReady"
    return stateful_set(server, template, replicas=_MEMBERS if is_set else 1, podManagementPolicy=policy)


def _container(server: Server, facts: Facts) -> Object:
    ping, hello = "db.adminCommand('ping')", "const h = db.hello(); quit(h.isWritablePrimary || h.secondary ? 0 : 1)"
    return container(
        server,
        facts,
        "mongodb",
        **(_member() if _is_set(server) else _standalone()),
        ports=[{"name": "mongodb", "containerPort": PORT, "protocol": "TCP"}],
        **probes(
            alive=_shell(ping),
            ready=_shell(hello),
            # At the pod's own address: the server in which the image makes root listens on loopback only, and is no
            # start.
            started=command("sh", "-c", f'mongosh --quiet --host "$HOSTNAME" --eval "{ping}"'),
            start_period=5,
            # The shell takes a second of processor time each time, so it is asked seldom.
            live_period=30,
            ready_period=10,
            ready_timeout=10,
        ),
    )


def _standalone() -> Object:
    """Build what is particular to a server that runs alone: the image's own start, with a script for its first."""
    return {
        "args": ["mongod", "--auth", *_LISTEN],
        "env": [manifests.pod_ip("POD_IP"), *_root_user(), *_runtime_user()],
        "volumeMounts": [_mount("data", "/data/db"), *_mounts("/docker-entrypoint-initdb.d")],
    }


def _member() -> Object:
    """Build what is particular to a member of a set: a start of our own, and a place for its key."""
    name = {"name": "POD_NAME", "valueFrom": {"fieldRef": {"fieldPath": "metadata.name"}}}
    return {
        "command": ["sh", f"{_SCRIPTS}/mongodb-start.sh"],
        "env": [name, manifests.pod_ip("POD_IP"), env("REPLICA_SET", _REPLICA_SET), *_root_user(), *_runtime_user()],
        "volumeMounts": [_mount("data", "/data/db"), _mount("run", "/run/mongodb"), *_mounts(_SCRIPTS)],
    }


def _mount(volume: str, path: str) -> Object:
    return {"name": volume, "mountPath": path}


def _mounts(scripts_folder: str) -> list[Object]:
    return [
        {**_mount("scripts", scripts_folder), "readOnly": True},
        {**_mount("auth", _AUTH), "readOnly": True},
        _mount("tmp", manifests.SCRATCH),
    ]


def _root_user() -> list[Object]:
    return [
        env("MONGO_INITDB_ROOT_USERNAME", "root"),
        env("MONGO_INITDB_ROOT_PASSWORD_FILE", f"{_AUTH}/root-password"),
        env("MONGO_INITDB_DATABASE", _DATABASE),
    ]


def _runtime_user() -> list[Object]:
    return [
        env("RUNTIME_USER", _USER),
        env("RUNTIME_DATABASE", _DATABASE),
        env("AUTH_FOLDER", _AUTH),
        # The shell keeps its log and its history at home, which shall not be the volume with the data.
        env("HOME", manifests.SCRATCH),
    ]


def _shell(script: str) -> Probe:
    return command("mongosh", "--quiet", "--eval", script)


def _setups(assistant: AIAssistant, facts: Facts) -> list[Setup]:
    """Return what forms a set, or repairs it, and gives the runtime's user the password of the Secret."""
    server = _server(assistant)
    keys = ("root-password", "password")
    if _is_set(server):
        script, where = "mongodb-setup.js", [env("MEMBERS", _hosts(server)), env("REPLICA_SET", _REPLICA_SET)]
    else:
        script, where = "mongodb-password.js", [env("HOST", f"{server.name}:{PORT}")]
    return setup(
        server,
        facts,
        _MEMBERS if _is_set(server) else 1,
        user_id=_USER_ID,
        command=["mongosh", "--quiet", "--nodb", f"{_SCRIPTS}/{script}"],
        env=[*where, env("SCRIPTS_FOLDER", _SCRIPTS), *_runtime_user()],
        volumes=[
            {"name": "scripts", "configMap": {"name": server.name}},
            mounted_keys("auth", server.name, *keys),
            manifests.scratch("64Mi"),
        ],
        mounts=_mounts(_SCRIPTS),
        reads=facts.config_hash([SecretKeyRef(name=server.name, key=key) for key in keys], *_texts(server).values()),
    )


def _connections(assistant: AIAssistant, _: Bindings) -> list[Connection]:
    members = [Connection(NAME, part=NAME, port=PORT)] if _is_set(_server(assistant)) else []
    return [*members, Connection(f"{NAME}-setup", part=NAME, port=PORT)]


def _workload(assistant: AIAssistant) -> Workload:
    immutable = {
        "volumeClaimTemplates": "spec.mongodb.managed.storage",
        "podManagementPolicy": "spec.mongodb.managed.topology",
    }
    return Workload("StatefulSet", _server(assistant).name, NAME, immutable)


COMPONENT = Component(
    name=NAME,
    condition="MongoDBReady",
    workloads=lambda assistant: [_workload(assistant)],
    enabled=lambda spec: spec.mongodb.enabled,
    block="spec.mongodb",
    backend=lambda spec: spec.mongodb,
    binding=_binding,
    referenced=(
        ReferencedKind(
            percona_mongodb.GROUP,
            percona_mongodb.KIND,
            percona_mongodb.PLURAL,
            percona_mongodb.OPERATOR,
            percona_mongodb.binding,
            percona_mongodb.health,
            percona_mongodb.problem,
        ),
        ReferencedKind(
            mongodb_community.GROUP,
            mongodb_community.KIND,
            mongodb_community.PLURAL,
            mongodb_community.OPERATOR,
            mongodb_community.binding,
            mongodb_community.health,
            mongodb_community.problem,
        ),
    ),
    objects=_objects,
    setups=_setups,
    connections=_connections,
    credentials=lambda assistant: [_credential(assistant)],
)
