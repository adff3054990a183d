"""The cgroups that hold the pods of a node, in every hierarchy that this machine has.

With the first version of cgroups there is one hierarchy for each controller, and a new cpuset admits no process
until its processors and memory are set. With the second there is one, and controllers must be handed down.
"""

import time
from contextlib import suppress
from pathlib import Path

from devcluster.errors import DevclusterError
from devcluster.paths import machine_lock

ROOT_NAME = "devcluster"

REMOVE_TIMEOUT_SECONDS = 120.0
"""For the kernel to let go of the cgroups of processes that were killed."""

NEEDED_CONTROLLERS = {"cpu", "memory"}
"""Without them a kubelet starts no pod, and its message does not say what to do."""


def path(block: int, node: str = "") -> str:
    """Return the cgroup of a cluster or of one of its nodes, from the root of a hierarchy.

    It is named by the cluster's address block, which no other cluster of this machine has: names are a cache's.
    """
    return "/".join(["", ROOT_NAME, str(block), *([node] if node else [])])


def make(cgroup: str) -> None:
    """Make a cgroup in every hierarchy.

    Raises
    ------
    DevclusterError
        With the second version of cgroups: a controller that pods need is not handed down to it.
    """
    roots = hierarchies()
    with machine_lock():
        for root in roots:
            _make_below(root, cgroup)
    if all((root / "cgroup.controllers").exists() for root in roots):
        _require_controllers(roots, cgroup)


def remove(cgroup: str) -> bool:
    """Remove a cgroup with all below it, and what that leaves empty above.

    Returns
    -------
    bool
        False when processes were still in it in the end.
    """
    deadline = time.monotonic() + REMOVE_TIMEOUT_SECONDS
    left = [root / cgroup.lstrip("/") for root in hierarchies()]
    while (left := [folder for folder in left if not _remove_tree(folder)]) and time.monotonic() < deadline:
        time.sleep(0.05)
    with machine_lock():
        for root in hierarchies():
            with suppress(OSError):  # another cluster's is still in it
                (root / ROOT_NAME).rmdir()
    return not left


def hierarchies() -> list[Path]:
    """Return where the hierarchies of this machine are mounted."""
    mounts = [line.split() for line in Path("/proc/self/mounts").read_text().splitlines()]
    return [Path(fields[1]) for fields in mounts if fields[2] in {"cgroup", "cgroup2"}]


def _make_below(root: Path, cgroup: str) -> None:
    current = root
    for part in Path(cgroup).parts[1:]:
        _hand_down_controllers(current)
        parent, current = current, current / part
        current.mkdir(exist_ok=True)
        _copy_cpuset(parent, current)


def _require_controllers(roots: list[Path], cgroup: str) -> None:
    files = [root / cgroup.lstrip("/") / "cgroup.controllers" for root in roots]
    found = {name for file in files for name in file.read_text().split()}
    if missing := sorted(NEEDED_CONTROLLERS - found):
        raise DevclusterError(
            f"the cgroup {cgroup} has no controller {' and no '.join(missing)}: hand them down to this place "
            f"(cgroup.subtree_control of the cgroups above), or run this outside of a container"
        )


def _hand_down_controllers(folder: Path) -> None:
    """Enable for a cgroup's children what it has itself (second version only)."""
    available = folder / "cgroup.controllers"
    if not available.exists():
        return
    for controller in available.read_text().split():
        with suppress(OSError):  # one that is busy elsewhere, as on a machine with both versions
            (folder / "cgroup.subtree_control").write_text(f"+{controller}")


def _copy_cpuset(parent: Path, folder: Path) -> None:
    """Give a cgroup the processors and memory nodes of its parent (first version only)."""
    if (parent / "cgroup.controllers").exists():
        return
    for name in ("cpuset.cpus", "cpuset.mems"):
        if (folder / name).exists() and not (folder / name).read_text().strip():
            (folder / name).write_text((parent / name).read_text())


def _remove_tree(folder: Path) -> bool:
    if not folder.exists():
        return True
    for child in folder.iterdir():
        if child.is_dir():
            _remove_tree(child)
    with suppress(OSError):  # still busy
        folder.rmdir()
    return not folder.exists()
