"""Start SecantusDB from the environment and the command line of the official MongoDB image.

SecantusDB speaks MongoDB's protocol and is not MongoDB. What is asked of mongod and can't be had here ends with an
error, rather than with a server that differs silently. Scripts of /docker-entrypoint-initdb.d can't run, as there is
no MongoDB shell for them: the user that the operator's makes, RUNTIME_USER, is made here, and any other is refused.
"""

import argparse
import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from pymongo import MongoClient
from pymongo.errors import OperationFailure, PyMongoError

SERVER = Path(sys.executable).with_name("secantusd-py")

FIRST_PORT = 27018
"""Of the server without passwords in which the first users are made, on loopback and before the real one."""

FIRST_START_SECONDS = 60.0
SCRIPTS = Path("/docker-entrypoint-initdb.d")
"""Folder of what the official image runs when the data folder is new: every script in it."""

KNOWN_SCRIPTS = {"mongodb-user.js"}
INITIALISED = ".initialised"
"""File in the data folder: the first users are made."""

LEAST_CACHE_GB = 0.25
"""Mongod's own least, and enough here: the server would take a gigabyte."""

USER_EXISTS = 51003
REQUIRE_TLS = "requireTLS"

User = tuple[str, str, list[object]]
"""Name, password and roles."""


def main() -> None:
    """Make the first users if need be, then become the server."""
    arguments = _arguments(sys.argv[1:])
    folder = Path(arguments.dbpath)
    command = [str(SERVER), "--storage-path", str(folder), "--cache-size", f"{arguments.cache * 1024:.0f}M"]
    # standalone: else it sends clients to the address that it is bound to, as the one member of a replica set.
    # sync-on-commit: else what it acknowledged is lost when it is killed; mongod acknowledges what is in its journal.
    command += ["--standalone", "--sync-on-commit"]
    username, password = _variable("MONGO_INITDB_ROOT_USERNAME"), _variable("MONGO_INITDB_ROOT_PASSWORD")
    if bool(username) != bool(password):
        sys.exit("give both MONGO_INITDB_ROOT_USERNAME and MONGO_INITDB_ROOT_PASSWORD, or neither")
    if username and not (folder / INITIALISED).exists():
        _refuse_unknown_scripts()
        users = [(username, password, ["root"]), *_runtime_user()]
        _make_users(command, arguments.init_port, users)
        (folder / INITIALISED).touch()
    if username or arguments.auth:
        command += ["--auth"]
    if arguments.tlsMode == REQUIRE_TLS:
        file = arguments.tlsCertificateKeyFile
        command += ["--tls-cert-file", file, "--tls-key-file", file]
    host = "0.0.0.0" if arguments.bind_ip_all else arguments.bind_ip  # noqa: S104 - what mongod's option asks for
    os.execv(SERVER, [*command, "--host", host, "--port", str(arguments.port)])  # noqa: S606 - no shell is wanted


def _arguments(argv: Sequence[str]) -> argparse.Namespace:
    """Read mongod's options, as far as they make sense here; the program's name may come first, as in the image."""
    parser = argparse.ArgumentParser(prog="mongod", allow_abbrev=False)
    parser.add_argument("--dbpath", default="/data/db")
    parser.add_argument("--port", type=int, default=27017)
    # The image's default: a container is there to be reached.
    parser.add_argument("--bind_ip", type=_first_address, default="0.0.0.0")  # noqa: S104
    parser.add_argument("--bind_ip_all", action="store_true")
    parser.add_argument("--ipv6", action="store_true", help="what the addresses of --bind_ip say by themselves")
    parser.add_argument("--auth", action="store_true")
    parser.add_argument("--quiet", action="store_true", help="it says little as it is")
    parser.add_argument("--wiredTigerCacheSizeGB", type=float, default=LEAST_CACHE_GB, dest="cache")
    parser.add_argument("--tlsMode", choices=["disabled", REQUIRE_TLS], default="disabled")
    parser.add_argument("--tlsCertificateKeyFile", help="certificate and key in one file")
    parser.add_argument("--init-port", type=int, default=FIRST_PORT, help=argparse.SUPPRESS)
    return parser.parse_args(argv[1:] if argv[:1] == ["mongod"] else argv)


def _first_address(text: str) -> str:
    """Take the address that reaches furthest: it binds to one, which of several is the one that stands for all."""
    addresses = re.split(r"\s*,\s*", text)
    if len(addresses) == 1 and addresses[0] not in ("*", "::"):
        return addresses[0]
    return "::" if any(address.count(":") > 1 for address in addresses) else "0.0.0.0"  # noqa: S104


def _variable(name: str) -> str:
    """Return a variable's value, or the content of the file that NAME_FILE names."""
    file = os.environ.get(f"{name}_FILE")
    return Path(file).read_text().rstrip("\n") if file else os.environ.get(name, "")


def _refuse_unknown_scripts() -> None:
    """End where the official image would run what can't be run here."""
    found = {script.name for pattern in ("*.sh", "*.js") for script in SCRIPTS.glob(pattern)}
    if unknown := sorted(found - KNOWN_SCRIPTS):
        sys.exit(f"{SCRIPTS} has {', '.join(unknown)}, which the official image would run and this one can't")


def _runtime_user() -> list[User]:
    """Return the user with rights on one database that the operator asks for, if it does."""
    name = os.environ.get("RUNTIME_USER")
    if not name:
        return []
    password = Path(os.environ["AUTH_FOLDER"], "password").read_text().strip()
    return [(name, password, [{"role": "readWrite", "db": os.environ["RUNTIME_DATABASE"]}])]


def _make_users(command: Sequence[str], port: int, users: Sequence[User]) -> None:
    """Make them in a server that asks for no password, as there is none yet: on loopback, and gone when this ends."""
    first = subprocess.Popen([*command, "--host", "127.0.0.1", "--port", str(port)])
    try:
        with MongoClient[dict[str, object]](
            "127.0.0.1", port, directConnection=True, serverSelectionTimeoutMS=500
        ) as client:
            _wait(client, first)
            for name, password, roles in users:
                try:
                    client.admin.command("createUser", name, pwd=password, roles=roles)
                except OperationFailure as error:
                    if error.code != USER_EXISTS:  # made by a start that was ended here
                        raise
    finally:
        first.kill()  # takes seconds to end by itself, and what it acknowledged is on disk
        first.wait()


def _wait(client: MongoClient[dict[str, object]], server: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + FIRST_START_SECONDS
    while True:
        try:
            client.admin.command("ping")
        except PyMongoError as error:
            if server.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"the server in which the first users are made does not answer: {error}")
        else:
            return


if __name__ == "__main__":
    main()
