"""Take a cluster down: end what it started, and remove what is left, in whatever state it is.

Nothing here trusts that a start was completed: it works from what is on record and from what is found. Ending the
holder of a node's namespaces ends all that runs in them; their mounts, interfaces and namespaces go with them.
"""

import shutil
from contextlib import suppress

from devcluster import blocks, cgroups, network, process, state
from devcluster.addresses import AddressPlan
from devcluster.errors import DevclusterError
from devcluster.state import Files


def remove(name: str) -> None:
    """End a cluster's processes and remove its files; does nothing when there is none.

    Raises
    ------
    DevclusterError
        Something is left, and which.
    """
    files = state.files(name)
    if not files.folder.exists():
        return
    same_boot = (record := state.read(name)) is None or record.boot == state.boot_id()
    if same_boot:
        _end_processes(files)
    for number in blocks.held_by(files.folder):
        network.disconnect_host(AddressPlan(number))
        cgroup = cgroups.path(number)
        if not cgroups.remove(cgroup):
            raise DevclusterError(f"processes are left in the cgroup {cgroup}: end them and try again")
        blocks.release(number)
    _remove_files(files)


def _end_processes(files: Files) -> None:
    """End all components, and the process that each of them may have inside namespaces before itself.

    The first process of a node ends, and lets its parent go, only when the kernel has ended all others in it.
    """
    stuck = []
    for component in files.components():
        started = process.recorded(files.pidfile(component))
        if started is None:
            continue
        inside = process.only_child(started) if process.is_alive(started) else None
        try:
            ended = all(process.kill(each) for each in (inside, started) if each is not None)
        except PermissionError as error:
            raise DevclusterError(f"{component} was started by another user, who has to take it down") from error
        if not ended:
            stuck.append(f"{component} (process {started.pid})")
    if stuck:
        raise DevclusterError(f"still running after they were killed: {', '.join(stuck)}")


def _remove_files(files: Files) -> None:
    # The record goes first: what is left by an interruption here is then never taken for a cluster.
    with suppress(FileNotFoundError):
        files.record.unlink()
    try:
        shutil.rmtree(files.folder)
    except OSError as error:
        raise DevclusterError(f"{files.folder} could not be removed: {error}") from error
