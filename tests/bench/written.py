"""When the API server was done with each write, by its audit log: what the server saw, not what a client believes."""

import json
from collections.abc import Callable, Iterable
from datetime import datetime
from typing import Any

from assistant_operator.kinds import Kind
from devcluster.cluster import Cluster
from tests.support.kube import OPERATOR_USER, audit_mark, eventually

WRITTEN_SECONDS = 3600
"""Far more than a burst takes on a busy machine."""
CHANGED = ("create", "patch", "update", "delete")

Body = dict[str, Any]
Written = tuple[str, str]
"""An object's resource and name."""


class Writes:
    """When each object of a namespace was first written, as the audit log tells it from now on."""

    def __init__(self, cluster: Cluster, namespace: str) -> None:
        self._log, self._namespace = cluster.audit_log, namespace
        self._place = audit_mark(cluster)
        self._first: dict[Written, float] = {}
        self._by_operator: dict[Written, float] = {}

    def of(
        self, objects: Iterable[tuple[Kind, Body]], progress: Callable[[int, int], None] | None = None
    ) -> list[float]:
        """Wait until all these objects are written, and return when each one was."""
        wanted = {(kind.plural, body["metadata"]["name"]) for kind, body in objects}

        def written() -> bool:
            self._read()
            if progress:
                progress(len(wanted & self._first.keys()), len(wanted))
            return wanted <= self._first.keys()

        eventually(
            written,
            "everything was written",
            timeout=WRITTEN_SECONDS,
            last=lambda: f"{len(wanted - self._first.keys())} objects were not",
        )
        return [self._first[each] for each in wanted]

    def by_operator(self, kind: Kind, name: str) -> float:
        """Wait until the operator has written an object, and return when it did."""
        wanted = (kind.plural, name)

        def written() -> bool:
            self._read()
            return wanted in self._by_operator

        eventually(written, f"the operator writes {name}")
        return self._by_operator[wanted]

    def _read(self) -> None:
        """Read on; what is read once is not read again, since a contender needs the machine."""
        with self._log.open("rb") as log:
            log.seek(self._place)
            for line in log:
                if not line.endswith(b"\n"):
                    break
                self._place += len(line)
                self._note(json.loads(line))

    def _note(self, entry: Body) -> None:
        target = entry.get("objectRef", {})
        written = entry["verb"] in CHANGED and entry.get("responseStatus", {}).get("code", 500) < 300
        if not written or target.get("namespace") != self._namespace or target.get("subresource"):
            return
        stamp = datetime.fromisoformat(entry["stageTimestamp"]).timestamp()
        key = (target["resource"], target.get("name", ""))
        self._first.setdefault(key, stamp)
        if entry["user"]["username"] == OPERATOR_USER:
            self._by_operator.setdefault(key, stamp)
