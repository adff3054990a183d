"""Tests side by side: which of them one worker runs in order, and which begin first.

Most of the time of these tests is waiting: for pods, leases, elections. So `make test` runs more workers than there are
processors (pytest-xdist). The tests of a module stay together and in order, because they share servers, and some tell a
story; modules that share a cluster stay together too, and a worker that comes to them starts one. What takes longest
begins first, so that no worker is left alone with it at the end.
"""

import os

import pytest
from xdist.scheduler import LoadScopeScheduling, Scheduling

TOGETHER = {
    "tests/e2e/test_backends.py": "tests/e2e: every server",
    "tests/e2e/test_redis_cluster.py": "tests/e2e: every server",
    "tests/e2e": "tests/e2e",
    "tests/cluster": "tests/cluster",
}
"""Modules, and folders, that are one group; any other module is one by itself."""

LONGEST_FIRST = (
    "tests/e2e: every server",
    "tests/e2e",
    "tests/cluster",
    "tests/runtime/test_documents.py",
    "tests/devcluster/test_nodes.py",
    "tests/devcluster/test_control_plane.py",
    "tests/runtime/test_local.py",
    "tests/rooms/test_redis_cluster.py",
    "tests/support/test_servers.py",
    "tests/runtime/test_chat_page.py",
    "tests/clients/test_libraries.py",
)
"""As `make test WORKERS=0 ARGS=--durations=0` tells; those that are missing here take less than any of them."""


class InOrder(LoadScopeScheduling):  # type: ignore[misc]  # xdist has no types of its own
    """Gives each worker a group at a time."""

    def _split_scope(self, nodeid: str) -> str:
        return group_of(nodeid)


def group_of(nodeid: str) -> str:
    """Return the group of tests that one worker runs in order."""
    module = nodeid.split("::", maxsplit=1)[0]
    return TOGETHER.get(module) or TOGETHER.get(module.rpartition("/")[0]) or module


def pytest_xdist_auto_num_workers() -> int:
    """Return one worker more than there are processors: one of them is always waiting."""
    return (os.cpu_count() or 1) + 1


def pytest_xdist_make_scheduler(config: pytest.Config, log: object) -> Scheduling | None:
    """Distribute by these groups where a run asks for groups at all (`--dist loadscope`)."""
    return InOrder(config, log) if config.getoption("dist") == "loadscope" else None


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Put the longest groups first, in a worker: the queue is in this order."""
    if hasattr(config, "workerinput"):
        items.sort(key=_place)


def _place(item: pytest.Item) -> int:
    group = group_of(item.nodeid)
    return LONGEST_FIRST.index(group) if group in LONGEST_FIRST else len(LONGEST_FIRST)
