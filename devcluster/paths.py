"""Where everything lives: one cache folder per user, and locks between concurrent calls.

All that a cluster writes is below the cache, so that removing the cache, when all clusters are down, removes the
lot. Only the registry of address blocks is outside: two users' clusters share one machine's addresses.
"""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

RUN_DIR = Path("/run/devcluster")
"""What must not outlive a reboot: which address blocks are taken."""


def cache_dir() -> Path:
    """Return the per-user cache: $DEVCLUSTER_CACHE, or a folder of the user's general cache."""
    chosen = os.environ.get("DEVCLUSTER_CACHE")
    if chosen:
        return Path(chosen).absolute()
    general = os.environ.get("XDG_CACHE_HOME")
    base = Path(general) if general else Path.home() / ".cache"
    return base / "ai-assistant-devcluster"


def clusters_dir() -> Path:
    """Return the folder with one folder for each cluster."""
    return cache_dir() / "clusters"


@contextmanager
def lock(name: str) -> Iterator[None]:
    """Hold the lock `name` of this cache, waiting for whoever holds it.

    The kernel releases it when its holder dies, so a killed command never blocks the next one.
    """
    folder = cache_dir() / "locks"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
