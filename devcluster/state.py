"""The files of one cluster, and the record of what was started.

The record is written before anything is started and completed at the end, so that a cluster whose start was
interrupted is told from a whole one, and can be cleaned.
"""

import json
import re
from dataclasses import asdict, dataclass
from pathlib import Path

from devcluster.addresses import AddressPlan
from devcluster.errors import DevclusterError
from devcluster.paths import clusters_dir
from devcluster.process import Process, is_alive, recorded

NAME = re.compile(r"[a-z]([a-z0-9-]{0,18}[a-z0-9])?")
"""A DNS label, short: the name is part of paths of sockets, which may not be long."""


@dataclass(frozen=True)
class Files:
    """Where a cluster keeps what."""

    folder: Path

    @property
    def record(self) -> Path:
        """The record of what was started."""
        return self.folder / "cluster.json"

    @property
    def kubeconfig(self) -> Path:
        """The administrator's kubeconfig."""
        return self.folder / "kubeconfig"

    @property
    def audit_log(self) -> Path:
        """One JSON line for each request to the API server."""
        return self.folder / "audit.log"

    @property
    def pki(self) -> Path:
        """Certificates and keys."""
        return self.folder / "pki"

    @property
    def config(self) -> Path:
        """Configuration of the programs that serve all nodes."""
        return self.folder / "config"

    @property
    def nodes(self) -> Path:
        """One folder for each node."""
        return self.folder / "nodes"

    def node(self, name: str) -> Path:
        """Return the folder of a node."""
        return self.nodes / name

    def log(self, component: str) -> Path:
        """Return the log of a component."""
        return self.folder / "logs" / f"{component}.log"

    def pidfile(self, component: str) -> Path:
        """Return where the process of a component is on record."""
        return self.folder / "pids" / component

    def components(self) -> list[str]:
        """Return the names of all components that were ever started."""
        return sorted(file.name for file in (self.folder / "pids").glob("*"))

    def process(self, component: str) -> Process | None:
        """Return the process of a component, or None when it does not run."""
        process = recorded(self.pidfile(component))
        return process if process is not None and is_alive(process) else None

    def make(self) -> None:
        """Make the folders, readable by their owner only: kubeconfigs and keys are in them."""
        self.folder.mkdir(mode=0o700, parents=True)
        for name in ("logs", "pids", "config"):
            (self.folder / name).mkdir()


@dataclass(frozen=True)
class Record:
    """What was started, for later calls."""

    name: str
    boot: str
    """Identifies the boot of the machine: after another one, no recorded process can be alive."""
    binaries: str
    server: str
    nodes: tuple[str, ...]
    """Names of the nodes; empty for a control plane alone."""
    block: int | None
    """Number of the address block; None for a control plane alone."""
    owner: str = ""
    """$DEVCLUSTER_OWNER of whoever started it, so that a run can take down its own clusters and no others."""
    ready: bool = False
    """Whether the start was completed."""

    @property
    def plan(self) -> AddressPlan:
        """The addresses; block 0 stands in for a control plane alone, where nothing is routed."""
        return AddressPlan(self.block or 0, routed=self.block is not None)


def files(name: str) -> Files:
    """Return the files of the cluster `name`.

    Raises
    ------
    DevclusterError
        It is no name for a cluster: as a path it could lead anywhere.
    """
    if not NAME.fullmatch(name):
        raise DevclusterError(f"{name!r} is no name for a cluster: use up to 20 of a-z, 0-9 and -")
    return Files(clusters_dir() / name)


def names() -> list[str]:
    """Return the names of all clusters of this cache, half-started ones too."""
    return sorted(folder.name for folder in clusters_dir().glob("*") if _is_cluster(folder))


def _is_cluster(folder: Path) -> bool:
    return folder.is_dir() and NAME.fullmatch(folder.name) is not None


def boot_id() -> str:
    """Return what identifies this boot of the machine."""
    return Path("/proc/sys/kernel/random/boot_id").read_text().strip()


def read(name: str) -> Record | None:
    """Return the record of a cluster, or None when there is none that can be read."""
    try:
        content = json.loads(files(name).record.read_text())
        return Record(**{**content, "nodes": tuple(content["nodes"])})
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None


def write(record: Record) -> None:
    """Put a cluster on record, whole or not at all."""
    target = files(record.name).record
    unfinished = target.with_suffix(".tmp")
    unfinished.write_text(json.dumps(asdict(record), indent=2) + "\n")
    unfinished.replace(target)
