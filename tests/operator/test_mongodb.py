"""What MongoDB's official image does by itself at a volume's first start is what is meant to happen there."""

from assistant_operator import desired
from assistant_operator.rooms.manifests import Object
from tests.operator.assistants import assistant, facts

FIRST_START = "/docker-entrypoint-initdb.d"
"""The image runs every script in this folder while its server knows no passwords, and ends where one fails."""


def _files(objects: list[Object], path: str) -> set[str]:
    """Names of the files of a ConfigMap that MongoDB's container has at a path."""
    pod = next(o for o in objects if o["kind"] == "StatefulSet")["spec"]["template"]["spec"]
    names = {mount["name"] for mount in pod["containers"][0]["volumeMounts"] if mount["mountPath"] == path}
    sources = [volume["configMap"] for volume in pod["volumes"] if volume["name"] in names]
    data = {o["metadata"]["name"]: o["data"] for o in objects if o["kind"] == "ConfigMap"}
    every = [[{"path": key} for key in data[source["name"]]] for source in sources if "items" not in source]
    return {item["path"] for items in [*every, *(s["items"] for s in sources if "items" in s)] for item in items}


def _rendered(**managed: object) -> list[Object]:
    found = assistant(mongodb={"managed": managed})
    return [o for o in desired.desired(found, facts(found)).objects if o["metadata"]["name"] == "demo-mongodb"]


def test_a_server_that_runs_alone_finds_the_script_for_the_runtimes_user_and_no_other() -> None:
    assert _files(_rendered(), FIRST_START) == {"mongodb-user.js"}


def test_a_member_of_a_set_finds_none_because_the_set_makes_the_user() -> None:
    assert _files(_rendered(topology="replicaSet"), FIRST_START) == set()
    assert _files(_rendered(topology="replicaSet"), "/etc/mongodb/scripts") == {"mongodb-start.sh"}
