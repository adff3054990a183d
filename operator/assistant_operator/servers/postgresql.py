"""One PostgreSQL with a database, a user that owns it, and a volume."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from assistant_operator.rooms import manifests
from assistant_operator.rooms.binding import Binding
from assistant_operator.rooms.credentials import Credential, in_url
from assistant_operator.rooms.facts import Facts
from assistant_operator.rooms.manifests import Object, env
from assistant_operator.rooms.probes import command, probes
from assistant_operator.servers import scripts
from assistant_operator.servers.base import Server, container, mounted_keys, pod_template, stateful_set
from assistant_operator.spec.base import SecretKeyRef

PORT = 5432

_USER_ID = 999
"""User `postgres` of the official image built from Debian; that of the Alpine variant is 70."""
_GRACE_SECONDS = 60
"""The image asks for a fast shutdown (SIGINT), which ends sessions and writes a checkpoint."""


@dataclass(frozen=True)
class Database(Server):
    """A PostgreSQL server with one database."""

    database: str
    """Name of the database."""
    user: str
    """Name of the user that owns it."""


def credential(server: Database) -> Credential:
    """Return the Secret with the password, alone and as a URL."""
    host = server.name

    def fill(existing: Mapping[str, str], fresh: Callable[[], str]) -> dict[str, str]:
        password = existing.get("password") or fresh()
        return {
            "password": password,
            "url": f"postgresql://{server.user}:{in_url(password)}@{host}:{PORT}/{server.database}",
        }

    return Credential(host, server.component, fill)


def binding(server: Database) -> Binding:
    """Return how the database is reached."""
    return Binding(url=SecretKeyRef(name=server.name, key="url"), port=PORT, pod_labels=server.selector)


def objects(server: Database, facts: Facts, *options: str) -> list[Object]:
    """Build the server's objects; `options` are server settings, such as max_connections=200."""
    volumes = {
        "/etc/postgresql/auth": mounted_keys("auth", server.name, "password"),
        "/var/run/postgresql": manifests.scratch("16Mi", "run"),
        manifests.SCRATCH: manifests.scratch("64Mi"),
        # Parallel queries share memory here; the runtime's own default of 64Mi ends larger ones.
        manifests.SHARED_MEMORY: manifests.scratch("256Mi", "shm", medium="Memory"),
    }
    template = pod_template(
        server,
        user_id=_USER_ID,
        containers=[_container(server, facts, options, volumes)],
        volumes=list(volumes.values()),
        config_hash=facts.config_hash([SecretKeyRef(name=server.name, key="password")]),
        terminationGracePeriodSeconds=_GRACE_SECONDS,
    )
    return [
        manifests.service(server.name, server.assistant, server.component, PORT, "postgresql"),
        stateful_set(server, template),
    ]


def _container(server: Database, facts: Facts, options: tuple[str, ...], volumes: Mapping[str, Object]) -> Object:
    # By TCP: the server in which the image makes the database has a socket only, and is no start.
    ready = ("pg_isready", "--quiet", "--host=127.0.0.1", f"--username={server.user}", f"--dbname={server.database}")
    answers = ("psql", "--no-psqlrc", "--no-password", f"--dbname={server.database}", "--command=SELECT 1")
    return container(
        server,
        facts,
        "postgresql",
        args=["postgres", *(word for option in options for word in ("-c", option))],
        ports=[{"name": "postgresql", "containerPort": PORT, "protocol": "TCP"}],
        env=[
            env("POSTGRES_DB", server.database),
            env("POSTGRES_USER", server.user),
            env("POSTGRES_PASSWORD_FILE", "/etc/postgresql/auth/password"),
            # A folder within the volume, because the volume's own may hold what the file system keeps there.
            env("PGDATA", "/var/lib/postgresql/data/pgdata"),
            env("PGUSER", server.user),
        ],
        lifecycle={"postStart": {"exec": {"command": ["sh", "-c", scripts.read("postgresql-password.sh")]}}},
        volumeMounts=[{"name": "data", "mountPath": "/var/lib/postgresql/data"}, *manifests.mounts(volumes)],
        # pg_isready tells a server that recovers from one that is gone: recovering is alive, and not ready.
        **probes(alive=command(*ready), ready=command(*answers)),
    )
