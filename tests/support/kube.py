"""A cluster as tests see it: kubectl, waiting for what should come true, and the operator as its own process."""

import base64
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import yaml

from assistant_operator.rights import lease_rules, rules
from assistant_operator.spec.crd import definition
from devcluster.cluster import Cluster
from devcluster.proxies import without_proxies
from tests.support.api import Api, Object, RefusedError

T = TypeVar("T")

WRITE_VERBS = {"create", "update", "patch", "delete", "deletecollection"}
PROGRAM = "from assistant_operator.cli import main; main(['run'])"
LEASE = "assistant-operator"
OPERATOR_USER = "system:serviceaccount:operator-system:assistant-operator"


class Kube:
    """kubectl against one cluster, in one namespace. What is read again and again is asked of the API server itself."""

    def __init__(self, cluster: Cluster, namespace: str = "default") -> None:
        self.cluster, self.namespace = cluster, namespace
        self.api = Api(cluster)

    def run(self, *arguments: str, stdin: str | None = None, timeout: float = 60) -> str:
        """Run kubectl and return what it printed; `RefusedError` with its error output where it fails."""
        command = [str(self.cluster.kubectl), "--kubeconfig", str(self.cluster.kubeconfig), "-n", self.namespace]
        done = subprocess.run(
            [*command, *arguments],
            input=stdin,
            env=without_proxies(os.environ),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )
        if done.returncode:
            raise RefusedError(done.stderr)
        return done.stdout

    def apply(self, *objects: Object, **_: Any) -> str:
        return self.run("apply", "-f", "-", stdin=yaml.safe_dump_all(objects))

    def get(self, kind: str, name: str) -> Object | None:
        """Return an object, None where there is none."""
        return self.api.get(kind, self.namespace, name)

    def must(self, kind: str, name: str) -> Object:
        found = self.get(kind, name)
        assert found, f"there is no {kind} {name}"
        return found

    def list(self, kinds: str, selector: str = "") -> list[Object]:
        """Return the objects of one kind, or of several with commas between."""
        return [found for kind in kinds.split(",") for found in self.api.list(kind, self.namespace, selector)]

    def names(self, kind: str) -> set[str]:
        return {found["metadata"]["name"] for found in self.list(kind)}

    def secret(self, name: str) -> dict[str, str]:
        """Return a Secret's decoded values."""
        data = self.must("secret", name)["data"]
        return {key: base64.b64decode(value).decode() for key, value in data.items()}

    def condition(self, name: str, kind: str = "Ready") -> dict[str, Any]:
        """Return a condition of an AIAssistant, empty where it has none."""
        status = (self.get("aia", name) or {}).get("status") or {}
        return next((c for c in status.get("conditions") or [] if c["type"] == kind), {})

    def wait_for_reason(self, name: str, reason: str, kind: str = "Ready", timeout: float = 30) -> dict[str, Any]:
        """Wait until a condition of an AIAssistant has a reason, and return it."""
        return eventually(
            lambda: found if (found := self.condition(name, kind)).get("reason") == reason else None,
            f"{kind} of {name} has reason {reason}",
            timeout=timeout,
            last=lambda: self.condition(name, kind),
        )


def eventually(
    check: Callable[[], T | None], what: str, *, timeout: float = 120, last: Callable[[], Any] = lambda: ""
) -> T:
    """Wait until `check` gives something true, and return it; fail saying what never came and what was there last."""
    deadline = time.monotonic() + timeout
    while not (found := check()):
        if time.monotonic() > deadline:
            raise AssertionError(f"not within {timeout} s: {what}; last seen: {last()}")
        time.sleep(0.1)
    return found


Requests = Counter[tuple[str, str, str]]
"""How often each verb was used on each object: (verb, resource, name)."""


def audited(cluster: Cluster, since: int, namespace: str | None = None) -> Requests:
    """Count the operator's requests in the audit log from byte `since` on, watches excluded; None: all namespaces."""
    counted: Requests = Counter()
    with cluster.audit_log.open("rb") as log:
        log.seek(since)
        for line in log:
            entry = json.loads(line)
            found = entry.get("objectRef")
            if entry["user"]["username"] != OPERATOR_USER or entry["verb"] == "watch" or not found:
                continue
            if namespace in (None, found.get("namespace")):
                counted[entry["verb"], found["resource"], found.get("name", "")] += 1
    return counted


def writers(cluster: Cluster, since: int, namespace: str) -> list[str]:
    """Return who wrote in a namespace, by the user agents in the audit log from byte `since` on; each turn once."""
    agents: list[str] = []
    with cluster.audit_log.open("rb") as log:
        log.seek(since)
        for line in log:
            entry = json.loads(line)
            wrote = entry["user"]["username"] == OPERATOR_USER and entry["verb"] in WRITE_VERBS
            here = (entry.get("objectRef") or {}).get("namespace") == namespace
            if wrote and here and agents[-1:] != [entry["userAgent"]]:
                agents.append(entry["userAgent"])
    return agents


def audit_mark(cluster: Cluster) -> int:
    """Return where the audit log ends now."""
    return cluster.audit_log.stat().st_size


def writes(requests: Requests) -> Requests:
    return Counter({request: count for request, count in requests.items() if request[0] in WRITE_VERBS})


def install(kube: Kube, *namespaces: str) -> Path:
    """Install the CRD and the operator's account with the rights of its rules; return a kubeconfig of that account.

    With `namespaces`, the rights are given by a Role in each of them and by nothing else, as the chart does it.
    """
    kube.apply(definition())
    eventually(lambda: is_established(kube.must("crd", "aiassistants.aiassistant.dev")), "the CRD is served")
    # kubectl keeps for hours which kinds there were when it first asked; this has it ask again.
    eventually(lambda: "aiassistants" in kube.run("api-resources", "--api-group=aiassistant.dev"), "kubectl knows it")
    account = "scoped" if namespaces else "assistant-operator"
    system = Kube(kube.cluster, "operator-system")
    system.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "operator-system"}})
    system.apply({"apiVersion": "v1", "kind": "ServiceAccount", "metadata": {"name": account}})
    system.apply(*_grant(f"{account}-leader-election", "operator-system", lease_rules(LEASE), account))
    for namespace in namespaces or (None,):
        Kube(kube.cluster, namespace or "default").apply(*_grant(account, namespace, rules(), account))
    token = system.run("create", "token", account, "--duration=8h").strip()
    return _kubeconfig(kube.cluster, account, token)


def is_established(crd: Object) -> bool:
    """Tell whether a CRD is served; kubectl's own wait fails on one that has no conditions yet."""
    told = (crd.get("status") or {}).get("conditions") or []
    return any((each["type"], each["status"]) == ("Established", "True") for each in told)


def _grant(name: str, namespace: str | None, granted: list[Object], account: str) -> list[Object]:
    prefix = "" if namespace else "Cluster"
    meta = {"name": name, **({"namespace": namespace} if namespace else {})}
    group = "rbac.authorization.k8s.io"
    subject = {"kind": "ServiceAccount", "name": account, "namespace": "operator-system"}
    return [
        {"apiVersion": f"{group}/v1", "kind": f"{prefix}Role", "metadata": meta, "rules": granted},
        {
            "apiVersion": f"{group}/v1",
            "kind": f"{prefix}RoleBinding",
            "metadata": meta,
            "roleRef": {"apiGroup": group, "kind": f"{prefix}Role", "name": name},
            "subjects": [subject],
        },
    ]


def _kubeconfig(cluster: Cluster, account: str, token: str) -> Path:
    config = yaml.safe_load(cluster.kubeconfig.read_text())
    context = {"cluster": config["clusters"][0]["name"], "user": account}
    config["users"] = [{"name": account, "user": {"token": token}}]
    config["contexts"] = [{"name": account, "context": context}]
    config["current-context"] = account
    path = cluster.kubeconfig.with_name(f"kubeconfig-{account}")
    path.write_text(yaml.safe_dump(config))
    return path


@contextmanager
def running_operator(
    kubeconfig: Path, log: Path, *, program: str = PROGRAM, **settings: str
) -> Iterator[subprocess.Popen[bytes]]:
    """Run the operator as its own process until the block ends; it must then end well on SIGTERM."""
    environment = {**os.environ, "KUBECONFIG": str(kubeconfig), "ASSISTANT_OPERATOR_HTTP_PORT": "0"}
    environment |= {f"ASSISTANT_OPERATOR_{name.upper()}": value for name, value in settings.items()}
    start = log.stat().st_size if log.exists() else 0
    with log.open("ab") as output:
        process = subprocess.Popen([sys.executable, "-c", program], env=environment, stdout=output, stderr=output)
    try:
        eventually(
            lambda: b'"synced"' in log.read_bytes()[start:] or process.poll() is not None,
            "the operator's caches are filled",
            last=log.read_text,
        )
        assert process.poll() is None, log.read_text()
        yield process
    finally:
        killed = process.poll() == -signal.SIGKILL  # by the test
        process.terminate()
        try:
            code = process.wait(30)
        finally:
            process.kill()
            process.wait()
    assert killed or code == 0, log.read_text()[-3000:]
