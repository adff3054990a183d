"""Start the real Milvus of the Python package `milvus`, with its embedded etcd and its data in one folder.

It takes the command of the official image, `milvus run standalone`, and its environment: the server itself reads every
setting of milvus.yaml from a variable of that name, such as COMMON_SECURITY_AUTHORIZATIONENABLED. What later versions
add, the first password by COMMON_SECURITY_DEFAULTROOTPASSWORD, is done here.
"""

import lzma
import os
import shutil
import sys
import time
import urllib.request
from contextlib import suppress
from importlib.util import find_spec
from pathlib import Path

from milvus import MilvusServerConfig

UNPACK = "unpack"
COMMAND = ["run", "standalone"]
USER_CONFIG = Path("/milvus/configs/user.yaml")
"""Where the official image has the settings that a user adds."""

ETCD_IN_FOLDER = """\
name: default
listen-client-urls: unix://localhost:2379
advertise-client-urls: http://localhost:2379
listen-peer-urls: unix://localhost:2380
initial-advertise-peer-urls: http://localhost:2380
initial-cluster: default=http://localhost:2380
"""
"""The embedded etcd with sockets in the data folder: it takes its two ports from nothing that Milvus' settings name."""

DEFAULTS = {"DEPLOY_MODE": "STANDALONE", "PROXY_PORT": "19530", "METRICS_PORT": "9091"}
FIRST_PASSWORD = "Milvus"  # noqa: S105 - what every Milvus comes with
PASSWORD_SECONDS = 600.0
"""For the server to answer: it loads its log at its start."""


def main() -> None:
    """Unpack the programs into a folder, at build time, or become the server."""
    match sys.argv[1:]:
        case [command, folder] if command == UNPACK:
            unpack(Path(folder))
        case [*program, run, mode] if [run, mode] == COMMAND and program in ([], ["milvus"]):
            serve(Path(os.environ.get("MILVUS_HOME", "/opt/milvus")))
        case other:
            sys.exit(f"only `milvus {' '.join(COMMAND)}` can be run here, not: {' '.join(other)}")


def unpack(folder: Path) -> None:
    """Unpack the server and its libraries, 250 MB, which the package has compressed."""
    spec = find_spec("milvus")
    if spec is None or spec.origin is None:
        raise SystemExit("the package milvus, which holds the server, is not installed")
    folder.mkdir(parents=True)
    for packed in (Path(spec.origin).parent / "data" / "bin").glob("*.lzma"):
        program = folder / packed.stem
        program.write_bytes(lzma.decompress(packed.read_bytes()))
        program.chmod(0o774)  # as the official image has them: others than their owner and its group can't run them


def serve(programs: Path) -> None:
    """Write the configuration into the data folder, and become the server."""
    data = Path(os.environ.get("MILVUS_DATA_DIR", "/var/lib/milvus"))
    config = MilvusServerConfig(data_dir=str(data))
    etcd = {}
    if os.environ.get("MILVUS_INNER_PORTS") == "free":  # several servers on one machine
        config.resolve()
        etcd = {"ETCD_CONFIG_PATH": str(data / "etcd.yaml")}
        Path(etcd["ETCD_CONFIG_PATH"]).write_text(ETCD_IN_FOLDER)
    else:
        config.resolve_storage()
        config.write_config()
    if USER_CONFIG.exists():
        shutil.copy(USER_CONFIG, data / "configs")
    environment = {**DEFAULTS, **etcd, **os.environ, "LD_LIBRARY_PATH": str(programs), "MILVUS_RUN_DIR": f"{data}/run"}
    password = environment.get("COMMON_SECURITY_DEFAULTROOTPASSWORD", "")
    if password and os.fork() == 0:
        agree_on_password(environment["PROXY_PORT"], environment["METRICS_PORT"], password)
        return
    os.chdir(data)  # where it looks for its configuration
    os.execve(programs / "milvus", ["milvus", *COMMAND], environment)  # noqa: S606 - no shell is wanted


def agree_on_password(port: str, health_port: str, password: str) -> None:
    """Wait for the server, and give root the password in place of the one that every Milvus comes with."""
    from pymilvus import MilvusClient, MilvusException  # noqa: PLC0415 - takes seconds that the server need not wait

    def client(password: str) -> MilvusClient:
        return MilvusClient(f"http://127.0.0.1:{port}", user="root", password=password, timeout=10)

    def is_set() -> bool:
        try:
            client(password).list_collections()
        except MilvusException:
            return False
        return True

    deadline = time.monotonic() + PASSWORD_SECONDS
    while time.monotonic() < deadline:
        with suppress(OSError, MilvusException):
            urllib.request.urlopen(f"http://127.0.0.1:{health_port}/healthz", timeout=5).close()
            if not is_set():
                client(FIRST_PASSWORD).update_password("root", FIRST_PASSWORD, password)
            return
        time.sleep(0.5)
    print("the server did not answer in time: root's password is not set", file=sys.stderr)


if __name__ == "__main__":
    main()
