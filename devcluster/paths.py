"""Where everything lives: one cache folder per user, and locks between concurrent calls.

All that a cluster writes is below the cache, so that removing the cache, when all clusters are down, removes the
lot. Only the registry of address blocks and its lock are outside: two users' clusters share one machine's addresses.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from devcluster.errors import DevclusterError

RUN_DIR = Path("/run/devcluster")
"""What must not outlive a reboot: which address blocks are taken."""

MACHINE_LOCK = Path("/run/devcluster.lock")
"""Beside that folder, as the folder goes with the last cluster."""


def cache_dir() -> Path:
    """Return the per-user cache: $DEVCLUSTER_CACHE, or a folder of the user's general cache."""
    chosen = os.environ.get("DEVCLUSTER_CACHE")
    if chosen:
        return Path(chosen).absolute()
    general = os.environ.get("XDG_CACHE_HOME")
    # The rule for these folders: a relative path is ignored.
    base = Path(general) if general and Path(general).is_absolute() else Path.home() / ".cache"
    return base / "ai-assistant-devcluster"


def clusters_dir() -> Path:
    """Return the folder with one folder for each cluster."""
    return cache_dir() / "clusters"


@contextmanager
def lock(name: str) -> Iterator[None]:
    """Hold the lock `name` of this cache, waiting for whoever holds it.

    The kernel releases it when its holder dies, so a killed command never blocks the next one.

    Raises
    ------
    DevclusterError
        The cache belongs to another user.
    """
    with _locked(cache_dir() / "locks" / name):
        yield


@contextmanager
def machine_lock() -> Iterator[None]:
    """Hold the one lock of this machine, for what the clusters of all users share. Needs root, as nodes do."""
    with _locked(MACHINE_LOCK):
        yield


@contextmanager
def _locked(file: Path) -> Iterator[None]:
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle = file.open("w")
    except PermissionError as error:
        raise DevclusterError(
            f"{error.filename} belongs to another user (root, after a run with sudo): give it back with chown, "
            "or choose another cache with DEVCLUSTER_CACHE"
        ) from error
    with handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
