"""Which cluster of this machine has which block of addresses.

The registry is the machine's, not a user's, and in memory: interfaces and routes are, too, so that after a reboot
all blocks are free again.
"""

from pathlib import Path

from devcluster.addresses import BLOCKS
from devcluster.errors import DevclusterError
from devcluster.paths import RUN_DIR, machine_lock


def take(folder: Path) -> int:
    """Reserve the first free block for the cluster whose folder is `folder`; atomic among all processes."""
    with machine_lock():
        RUN_DIR.mkdir(exist_ok=True)
        for number in range(BLOCKS):
            try:
                (RUN_DIR / str(number)).symlink_to(folder)
            except FileExistsError:
                continue
            return number
    raise DevclusterError(f"all {BLOCKS} address blocks are taken: take a cluster down first")


def held_by(folder: Path) -> list[int]:
    """Return the blocks that a cluster holds."""
    return [int(link.name) for link in RUN_DIR.glob("*") if _holder(link) == folder]


def release(number: int) -> None:
    """Give a block back."""
    with machine_lock():
        (RUN_DIR / str(number)).unlink(missing_ok=True)
        if RUN_DIR.exists() and not any(RUN_DIR.iterdir()):
            RUN_DIR.rmdir()


def _holder(link: Path) -> Path | None:
    try:
        return link.readlink()
    except OSError:  # released meanwhile, or nothing of ours
        return None
