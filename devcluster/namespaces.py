"""The namespaces of a node: a process holds them open, and its end is the end of everything inside.

A node is to this machine what a container is: the process that holds it is the first of its process namespace, so
that the kernel ends containers, shims and daemons with it, drops the node's mounts and removes its network
interfaces. Taking a node down can forget nothing.
"""

import os
import subprocess
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from devcluster.components import Component
from devcluster.errors import DevclusterError, component_error
from devcluster.packages import SYSTEM_PATH
from devcluster.process import POLL_SECONDS, Process, only_child, spawn
from devcluster.state import Files

HOLD_TIMEOUT_SECONDS = 10.0


@dataclass(frozen=True)
class Namespaces:
    """Namespaces that are held open."""

    init: Process
    """The first process in them."""

    def enter(self, kinds: Sequence[str], argv: Sequence[str]) -> list[str]:
        """Return the command that runs `argv` in the namespaces of `kinds` (mount, net, pid)."""
        flags = [f"--{kind}" for kind in kinds]
        return ["nsenter", f"--target={self.init.pid}", *flags, "--", *argv]

    def run(self, kinds: Sequence[str], argv: Sequence[str], *, text: str = "") -> str:
        """Run a command to its end inside, with `text` as its input, and return its output.

        Raises
        ------
        DevclusterError
            The command failed.
        """
        command = self.enter(kinds, argv)
        result = subprocess.run(command, input=text, check=False, capture_output=True, text=True, env=environment())
        if result.returncode != 0:
            raise DevclusterError(f"{' '.join(command)} failed: {(result.stderr or result.stdout).strip()}")
        return result.stdout


def hold(files: Files, name: str, pause: Path, *, kinds: Sequence[str]) -> Namespaces:
    """Make namespaces of `kinds` (mount, net, pid) and hold them open.

    Parameters
    ----------
    files
        Of the cluster.
    name
        Under which the holder is on record.
    pause
        The program that holds them.
    kinds
        With mount, the namespace also gets a view of the processes in it at /proc.
    """
    flags = [f"--{kind}" for kind in kinds] + (["--mount-proc"] if "mount" in kinds else [])
    # --kill-child: ending unshare, which is on record, ends the first process and with it all others.
    argv = ["unshare", *flags, "--fork", "--kill-child", str(pause)]
    holder = spawn(argv, pidfile=files.pidfile(name), log=files.log(name), env=environment())
    deadline = time.monotonic() + HOLD_TIMEOUT_SECONDS
    while time.monotonic() < deadline:
        init = only_child(holder)
        if init is not None and _runs(init, pause):
            return Namespaces(init)
        time.sleep(POLL_SECONDS)
    raise component_error(f"the namespaces of {name} could not be made", files.log(name))


def find(files: Files, name: str) -> Namespaces | None:
    """Return the namespaces on record under `name`, or None when they are gone."""
    holder = files.process(name)
    init = only_child(holder) if holder is not None else None
    return Namespaces(init) if init is not None else None


def start(files: Files, component: Component, *, env: Mapping[str, str] | None = None) -> None:
    """Start a component, in its node's namespaces when it names a node."""
    argv: Sequence[str] = component.argv
    if component.node is not None:
        inside = find(files, component.node)
        if inside is None:
            raise component_error(f"the namespaces of {component.node} are gone", files.log(component.node))
        argv = inside.enter(component.namespaces, argv)
    spawn(
        argv,
        pidfile=files.pidfile(component.name),
        log=files.log(component.name),
        env={**environment(), **(env or {})},
    )


def environment() -> dict[str, str]:
    """Return the environment of every component: nothing of the caller's (proxies, tokens) reaches a cluster."""
    return {"PATH": SYSTEM_PATH, "HOME": "/root" if os.geteuid() == 0 else str(Path.home())}


def _runs(process: Process, program: Path) -> bool:
    """Tell whether a process has become `program`: only then are its namespaces set up."""
    try:
        return Path(f"/proc/{process.pid}/exe").resolve() == program.resolve()
    except OSError:
        return False
