"""Fixtures for the tests of the development cluster."""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from devcluster import cluster


@pytest.fixture
def names() -> Iterator[Callable[[], str]]:
    """Give names for clusters, and take down at the end whatever has such a name."""
    given: list[str] = []

    def give() -> str:
        given.append(f"t{os.getpid()}-{len(given)}")
        return given[-1]

    yield give
    for name in given:
        cluster.down(name)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache, for tests that start nothing."""
    monkeypatch.setenv("DEVCLUSTER_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"
