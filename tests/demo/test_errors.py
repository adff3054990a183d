"""When the demo can't go on, it says which part failed, what is known about it and what to do."""

import json
import stat
from pathlib import Path

import pytest
from rich.console import Console

from devcluster.demo import diagnosis, publish
from devcluster.demo.checklist import Checklist
from devcluster.demo.cli import main
from devcluster.demo.kubernetes import Kubernetes
from devcluster.errors import DevclusterError

CRASHING = {
    "metadata": {"name": "demo-runtime-1"},
    "status": {
        "phase": "Running",
        "conditions": [{"type": "Ready", "status": "False"}],
        "containerStatuses": [
            {
                "name": "runtime",
                "ready": False,
                "restartCount": 4,
                "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 80s"}},
                "lastState": {"terminated": {"reason": "Error", "exitCode": 2}},
            }
        ],
    },
}
EVENTS = {"items": [{"reason": "BackOff", "message": "Back-off restarting", "lastTimestamp": "2026-01-01T00:00:00Z"}]}


@pytest.fixture
def kubernetes(tmp_path: Path) -> Kubernetes:
    """A kubectl that answers like a cluster with one crashing pod."""
    answers = {"pods": json.dumps({"items": [CRASHING]}), "events": json.dumps(EVENTS), "logs": "API_KEYS: is empty"}
    for name, answer in answers.items():
        (tmp_path / name).write_text(answer)
    kubectl = tmp_path / "kubectl"
    script = 'for word in pods events logs; do case " $* " in *" $word "*) cat $folder/$word; exit;; esac; done'
    kubectl.write_text(f"#!/bin/sh\nfolder={tmp_path}\n{script}\necho unexpected: $* >&2\nexit 1\n")
    kubectl.chmod(kubectl.stat().st_mode | stat.S_IXUSR)
    return Kubernetes(str(kubectl), "helm", kubeconfig=tmp_path / "kubeconfig")


def test_a_diagnosis_holds_state_event_log_and_the_next_commands(kubernetes: Kubernetes) -> None:
    problem = DevclusterError("AIAssistant demo is not Ready")
    text = str(diagnosis.of_pods(kubernetes, "assistants", "app.kubernetes.io/instance=demo", problem))
    assert text.startswith("AIAssistant demo is not Ready")
    for known in ("CrashLoopBackOff back-off 80s", "Error (exit code 2)", "BackOff: Back-off", "API_KEYS: is empty"):
        assert known in text
    assert "kubectl -n assistants describe pods -l app.kubernetes.io/instance=demo" in text
    assert f"export KUBECONFIG={kubernetes.kubeconfig}" in text


def test_a_failed_command_is_told_with_its_own_message(kubernetes: Kubernetes) -> None:
    with pytest.raises(DevclusterError, match="`kubectl get nodes` failed: unexpected: get nodes"):
        kubernetes.kubectl("get", "nodes")


def test_a_cluster_that_must_pull_needs_a_registry() -> None:
    with pytest.raises(DevclusterError, match=r"make demo CONTEXT=production REGISTRY=registry\.example\.com/team"):
        publish.deliver("production", "", "", Checklist(Console()))


def test_pushing_needs_a_registry(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["push"]) == 1
    assert "make push REGISTRY=registry.example.com/team" in capsys.readouterr().err


def test_a_missing_program_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    assert main(["up", "--context", "production"]) == 1
    assert "kubectl is not on PATH" in capsys.readouterr().err


def test_without_root_the_command_that_helps_is_told(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    assert main(["up"]) == 1
    error = capsys.readouterr().err
    assert "sudo make demo" in error
    assert "make demo CONTEXT=name" in error
