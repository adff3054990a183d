"""What the tests of running clusters share: kubectl, the audit log, and waiting for what must come."""

import json
import subprocess
import time
from collections.abc import Callable
from typing import Any

import pytest

from devcluster import state
from devcluster.cluster import Cluster
from devcluster.process import Process

PATIENCE_SECONDS = 120.0


def eventually(condition: Callable[[], Any], what: str) -> Any:
    """Return the first true value of `condition`; fail when it stays false."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.1)
    pytest.fail(f"waited {PATIENCE_SECONDS:.0f} s in vain for {what}")


def kubectl(target: Cluster, *arguments: str, text: str = "", check: bool = True) -> str:
    """Run kubectl against a cluster and return what it writes."""
    command = [str(target.kubectl), f"--kubeconfig={target.kubeconfig}", *arguments]
    result = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    if check and result.returncode != 0:
        pytest.fail(f"kubectl {' '.join(arguments)}: {result.stderr}")
    return result.stdout if check else result.stdout + result.stderr


def requests(target: Cluster) -> list[dict[str, Any]]:
    """Return the audit log."""
    return [json.loads(line) for line in target.audit_log.read_text().splitlines()]


def processes(name: str) -> list[Process]:
    """Return every process of a cluster's components that runs."""
    files = state.files(name)
    found = [files.process(component) for component in files.components()]
    return [process for process in found if process is not None]
