"""One Redis, with a password and an append-only file on a volume."""

from collections.abc import Callable, Mapping
from typing import Any

from assistant_operator.rooms import manifests
from assistant_operator.rooms.binding import Binding
from assistant_operator.rooms.credentials import Credential, in_url
from assistant_operator.rooms.facts import Facts
from assistant_operator.rooms.manifests import Object
from assistant_operator.rooms.probes import Probe, command, probes
from assistant_operator.servers.base import Server, container, mounted_keys, pod_template, stateful_set
from assistant_operator.spec.base import SecretKeyRef

PORT = 6379
USER_ID = 999
"""User `redis` of the official image. Any other image works too: nothing but the volume is written."""
GRACE_SECONDS = 60
"""The server writes its append-only file and ends on SIGTERM; rewriting a full file may take a while."""

_ANSWERS = command("sh", "-c", 'test "$(redis-cli ping)" = PONG')
_CONFIG = f"""\
include /etc/redis/auth/auth.conf
dir /data
port {PORT}
appendonly yes
"""


def credential(server: Server) -> Credential:
    """Return the Secret with the password, as a URL, as what the server includes, and alone."""
    host = server.name

    def fill(existing: Mapping[str, str], fresh: Callable[[], str]) -> dict[str, str]:
        password = existing.get("password") or fresh()
        return {
            "password": password,
            "url": f"redis://:{in_url(password)}@{host}:{PORT}/0",
            # The server reads its password from a file, so that it is in no argument list and no environment.
            "auth.conf": f"requirepass {_word(password)}\nmasterauth {_word(password)}\n",
        }

    return Credential(host, server.component, fill)


def _word(password: str) -> str:
    """Return a password as one word of Redis' configuration; a generated one needs no quotes."""
    if in_url(password) == password:
        return password
    escaped = password.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def binding(server: Server) -> Binding:
    """Return how the server is reached."""
    return Binding(
        url=SecretKeyRef(name=server.name, key="url"),
        port=PORT,
        pod_labels=server.selector,
    )


def objects(server: Server, facts: Facts, *options: str) -> list[Object]:
    """Build the server's objects; `options` are further lines of its configuration."""
    config = configuration(*options)
    template = pod_template(
        server,
        user_id=USER_ID,
        containers=[redis_container(server, facts)],
        volumes=volumes(server),
        config_hash=config_hash(server, facts, config),
        terminationGracePeriodSeconds=GRACE_SECONDS,
    )
    return [
        manifests.config_map(server.name, server.assistant, server.component, {"redis.conf": config}),
        manifests.service(server.name, server.assistant, server.component, PORT, "redis"),
        stateful_set(server, template),
    ]


def configuration(*options: str) -> str:
    """Return the text of redis.conf."""
    return _CONFIG + "".join(f"{option}\n" for option in options)


def config_hash(server: Server, facts: Facts, *texts: str) -> str:
    """Hash what the server reads at its start."""
    return facts.config_hash([SecretKeyRef(name=server.name, key="auth.conf")], *texts)


def password(server: Server) -> Object:
    """Build the variable from which redis-cli takes the password."""
    return manifests.secret_env("REDISCLI_AUTH", SecretKeyRef(name=server.name, key="password"))


def volumes(server: Server) -> list[Object]:
    """Build the volumes with the server's configuration and its password."""
    return [
        {"name": "config", "configMap": {"name": server.name}},
        mounted_keys("auth", server.name, "auth.conf"),
    ]


def redis_container(server: Server, facts: Facts, *, ready: Probe = _ANSWERS, **body: Any) -> Object:
    """Build the server's container; `body` are further fields, or others in place of these."""
    fields: Object = {
        "command": ["redis-server", "/etc/redis/redis.conf"],
        "ports": [{"name": "redis", "containerPort": PORT, "protocol": "TCP"}],
        "env": [password(server)],
        # redis-cli exits 0 on an error reply, so readiness compares the answer; while a large file loads the
        # server is alive (liveness) and not ready.
        **probes(alive=command("redis-cli", "ping"), ready=ready),
        "volumeMounts": [
            {"name": "data", "mountPath": "/data"},
            {
                "name": "config",
                "mountPath": "/etc/redis/redis.conf",
                "subPath": "redis.conf",
                "readOnly": True,
            },
            {"name": "auth", "mountPath": "/etc/redis/auth", "readOnly": True},
        ],
    }
    return container(server, facts, "redis", **{**fields, **body})
