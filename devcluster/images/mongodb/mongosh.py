#!/opt/venv/bin/python
"""Do what the operator asks of MongoDB's shell, and answer by the exit code as it would.

It is no shell. The two questions of the probes, a ping and whether the server takes writes, are both answered by
whether the server says that it takes writes. What the operator's script for a password does is done by other means.
Anything else is refused.
"""

import os
import sys
import time
from pathlib import Path

from pymongo import MongoClient
from pymongo.errors import AutoReconnect, PyMongoError

QUESTIONS = ("db.adminCommand('ping')", "const h = db.hello()")
SCRIPT = "mongodb-password.js"
PATIENCE_SECONDS = 120.0


def main() -> int:
    """Return 0 when the server takes writes, or when the user has the password."""
    match sys.argv[1:]:
        case ["--quiet", "--nodb", script] if Path(script).name == SCRIPT:
            return _give_password()
        case ["--quiet", "--eval", script] if script.startswith(QUESTIONS):
            return _answer("localhost")
        case ["--quiet", "--host", host, "--eval", script] if script.startswith(QUESTIONS):
            return _answer(host)
    sys.exit("this is no MongoDB shell: it answers the operator's probes, sets a password, and does nothing else")


def _answer(host: str) -> int:
    try:
        with MongoClient[dict[str, object]](host, directConnection=True, serverSelectionTimeoutMS=5000) as client:
            return 0 if client.admin.command("hello").get("isWritablePrimary") else 1
    except PyMongoError as error:
        sys.exit(str(error))


def _give_password() -> int:
    """Give the runtime's user the password of the Secret, with the variables of the operator's script."""
    root, password = (
        Path(os.environ["AUTH_FOLDER"], name).read_text().strip() for name in ("root-password", "password")
    )
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            with MongoClient[dict[str, object]](
                os.environ["HOST"], username="root", password=root, directConnection=True, serverSelectionTimeoutMS=3000
            ) as client:
                client.admin.command("updateUser", os.environ["RUNTIME_USER"], pwd=password)
        except AutoReconnect as error:  # it does not answer yet
            if time.monotonic() > deadline:
                sys.exit(str(error))
        except PyMongoError as error:
            sys.exit(str(error))
        else:
            return 0


if __name__ == "__main__":
    sys.exit(main())
