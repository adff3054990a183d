#!/opt/venv/bin/python
"""Answer the probes of the operator as MongoDB's shell would: by its exit code.

It is no shell. The two questions of the probes, a ping and whether the server takes writes, are both answered by
whether the server says that it takes writes; anything else is refused.
"""

import sys

from pymongo import MongoClient
from pymongo.errors import PyMongoError

QUESTIONS = ("db.adminCommand('ping')", "db.hello()")


def main() -> int:
    """Return 0 when the server takes writes."""
    script = sys.argv[-1]
    if sys.argv[1:-1] != ["--quiet", "--eval"] or not any(question in script for question in QUESTIONS):
        sys.exit("this is no MongoDB shell: it answers the operator's probes and nothing else")
    try:
        with MongoClient[dict[str, object]](directConnection=True, serverSelectionTimeoutMS=5000) as client:
            return 0 if client.admin.command("hello").get("isWritablePrimary") else 1
    except PyMongoError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    sys.exit(main())
