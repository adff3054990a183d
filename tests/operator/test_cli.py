"""The command line, as a user types it: what can't be used is named, with the remedy, and never by a traceback."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from assistant_operator.cli import main


@pytest.mark.parametrize(
    ("variable", "value", "message"),
    [
        ("WORKERS", "65", "ASSISTANT_OPERATOR_WORKERS: Input should be less than or equal to 64"),
        ("IMAGES", "redis:7", "ASSISTANT_OPERATOR_IMAGES: write a JSON object, such as"),
        ("IMAGES", '["redis:7"]', "ASSISTANT_OPERATOR_IMAGES: Input should be a valid dictionary"),
        ("IMAGES", '{"redis": 7}', "ASSISTANT_OPERATOR_IMAGES.redis: Input should be a valid string"),
        (
            "IMAGES",
            '{"rediss": "redis:7"}',
            "ASSISTANT_OPERATOR_IMAGES: there is no image rediss; there are runtime, ui",
        ),
        ("LEASE", "operator", "ASSISTANT_OPERATOR_LEASE: String should match pattern"),
        ("LEASE_DURATION_SECONDS", "301", "ASSISTANT_OPERATOR_LEASE_DURATION_SECONDS: Input should be less than or"),
        (
            "LEASE_DURATION_SECONDS",
            "7",
            "ASSISTANT_OPERATOR_RENEW_DEADLINE_SECONDS: 6 is too long for ASSISTANT_OPERATOR_LEASE_DURATION_SECONDS=7",
        ),
        (
            "RENEW_DEADLINE_SECONDS",
            "9",
            "ASSISTANT_OPERATOR_RENEW_DEADLINE_SECONDS: 9 is too long for ASSISTANT_OPERATOR_LEASE_DURATION_SECONDS=10",
        ),
        (
            "RETRY_PERIOD_SECONDS",
            "4",
            "ASSISTANT_OPERATOR_RETRY_PERIOD_SECONDS: 4 leaves no second try before ASSISTANT_OPERATOR_RENEW_DEADLINE_",
        ),
    ],
)
def test_a_bad_setting_is_named(
    variable: str, value: str, message: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(f"ASSISTANT_OPERATOR_{variable}", value)
    with pytest.raises(SystemExit, match="2"):
        main(["crd"])
    assert capsys.readouterr().err.startswith(f"assistant-operator: {message}")


def test_images_are_read(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    sample = Path(__file__).parents[2] / "manifests/samples/minimal.yaml"
    monkeypatch.setenv("ASSISTANT_OPERATOR_IMAGES", '{"redis": "registry.example.com/redis:7"}')
    main(["render", "--filename", str(sample)])
    assert "image: registry.example.com/redis:7" in capsys.readouterr().out


def test_without_a_cluster_it_says_how_to_name_one(tmp_path: Path) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("KUBERNETES_")}
    ended = subprocess.run(
        [sys.executable, "-m", "assistant_operator", "run"],
        env={**kept, "KUBECONFIG": str(tmp_path / "none"), "ASSISTANT_OPERATOR_HTTP_PORT": "0"},
        capture_output=True,
        check=False,
        text=True,
    )
    assert ended.returncode == 1
    assert "there is no cluster to connect to: name a kubeconfig by KUBECONFIG" in ended.stderr
    assert "Traceback" not in ended.stderr
