"""Image builds see this machine's pip settings."""

import configparser
from collections.abc import Callable
from pathlib import Path

import pytest

from devcluster import images
from devcluster.errors import DevclusterError
from devcluster.paths import lock

Settings = Callable[[str, dict[str, str]], configparser.ConfigParser]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Return pip's settings as a build sees them, where this machine's file has the given text."""

    def read(text: str, environment: dict[str, str]) -> configparser.ConfigParser:
        (tmp_path / "pip.conf").write_text(text)
        monkeypatch.setattr(images, "PIP_CONFIG", str(tmp_path / "pip.conf"))
        monkeypatch.setenv("HOME", str(tmp_path))
        parsed = configparser.ConfigParser(interpolation=None)
        parsed.read_string(images.pip_settings(environment))
        return parsed

    return read


def test_the_environment_wins_over_the_file(settings: Settings) -> None:
    found = settings(
        "[global]\nindex-url = https://file.example/simple\ntimeout = 5\n",
        {"PIP_INDEX_URL": "https://env.example/%7Esimple"},
    )
    assert found["global"]["index-url"] == "https://env.example/%7Esimple"
    assert found["global"]["timeout"] == "5"


def test_sections_of_single_commands_are_kept(settings: Settings) -> None:
    assert settings("[install]\nno-compile = yes\n", {})["install"]["no-compile"] == "yes"


def test_a_folder_without_wheels_is_left_out(settings: Settings, tmp_path: Path) -> None:
    (tmp_path / "wheels").mkdir()
    found = settings("", {"PIP_FIND_LINKS": str(tmp_path / "wheels"), "OTHER": "x"})
    assert dict(found["global"]) == {}


def test_a_value_of_several_lines_is_kept(settings: Settings) -> None:
    found = settings("[global]\nfind-links =\n    https://a.example\n    https://b.example\n", {})
    assert found["global"]["find-links"].split() == ["https://a.example", "https://b.example"]


def test_certificates_that_pip_is_told_to_trust_are_shown_with_those_of_this_machine(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "system.crt").write_text("system")
    (tmp_path / "own.crt").write_text("own")
    monkeypatch.setattr(images, "CERTIFICATES", str(tmp_path / "system.crt"))
    environment = {"PIP_CERT": str(tmp_path / "own.crt")}
    assert settings("", environment)["global"]["cert"] == str(tmp_path / "system.crt")
    assert images.certificates(environment) == b"system\nown"
    assert images.certificates({}) == b"system"
    assert images.certificates({"PIP_CERT": str(tmp_path / "system.crt")}) == b"system"


@pytest.mark.e2e
def test_a_build_that_fails_leaves_no_container(tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("ARG BASE_IMAGE\nFROM ${BASE_IMAGE}\nRUN exit 7\n")
    with pytest.raises(DevclusterError, match="exit status 7"):
        images.build("localhost/devcluster-test:fails", tmp_path / "Dockerfile", tmp_path)
    with lock(images.BUILD_LOCK):
        assert images._buildah("containers", "--quiet").split() == []
