"""Image builds see this machine's pip settings."""

import configparser
from collections.abc import Callable
from pathlib import Path

import pytest

from devcluster import images

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
