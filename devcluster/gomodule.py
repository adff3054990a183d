"""Build programs of a Go module once, into a folder named by a hash of all that they are made from.

Compiling takes minutes, so that a build must never be repeated without cause and never be trusted when its inputs
changed: the folder's name is the answer to both. It appears under that name only when it is complete.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from devcluster import state, toolchain
from devcluster.errors import DevclusterError
from devcluster.paths import cache_dir, lock
from devcluster.progress import Progress

BUILD_FLAGS = ("-trimpath", "-mod=readonly", "-buildvcs=false")
"""The same result wherever the sources are: also in a working copy whose history git refuses to read."""

PARALLEL_COMPILERS = 2
"""Each can take a gigabyte of memory on the largest packages."""

UNUSED_SECONDS = 24 * 3600.0
"""Binaries that were built or asked for later are not removed."""

Go = Callable[..., str]
"""Runs Go in a module by its arguments, and gives what it printed."""


def nothing_more(folder: Path, go: Go) -> None:
    """Leave the folder as it is: the programs are all."""
    del folder, go


@dataclass(frozen=True)
class GoModule:
    """A Go module, and what is built of it."""

    title: str
    """What its programs are, for a person who waits for them."""

    source: Path
    """Folder with go.mod, go.sum and the module's own sources."""

    packages: tuple[str, ...]
    """The programs: packages of its own or of the modules that it requires."""

    folder: str
    """Folder of the cache that has a folder for each set of inputs."""

    linker_flags: str = "-s -w"
    """By default no more than to leave symbols out."""

    complete: Callable[[Path, Go], None] = nothing_more
    """Puts into the folder what belongs beside the programs."""

    @property
    def minimum(self) -> str:
        """Return the lowest version of Go that builds it, such as 1.25.0."""
        return _directive(self.source, r"^go (\S+)$")

    def cache_key(self, go_version: str) -> str:
        """Hash all that decides what the programs become."""
        inputs = [go_version, self.packages, BUILD_FLAGS, self.linker_flags]
        digest = hashlib.sha256(json.dumps(inputs).encode())
        files = [self.source / "go.mod", self.source / "go.sum", *self.source.rglob("*.go")]
        for file in sorted(files):
            content = hashlib.sha256(file.read_bytes()).hexdigest()
            digest.update(f"{file.relative_to(self.source)} {content}\n".encode())
        return digest.hexdigest()[:16]


def required(source: Path, path: str) -> str:
    """Return the version that the module in `source` requires of another, such as v1.35.4."""
    return _directive(source, rf"^\s*{re.escape(path)} (v\S+)")


def ensure(module: GoModule, progress: Progress) -> Path:
    """Return the folder with a module's programs, building it first when it is missing.

    Raises
    ------
    DevclusterError
        Go can't be had, or the build failed.
    """
    folder = cache_dir() / module.folder / module.cache_key(toolchain.find(module.minimum).version)
    if folder.exists():
        with suppress(OSError):  # another user's
            os.utime(folder)
        return folder
    with lock("build"):
        go = toolchain.ensure(module.minimum, progress)
        if not folder.exists():
            with progress.step(f"Building {module.title}"):
                _build(module, go, folder)
            toolchain.drop_caches()
            _remove_unused(folder)
    return folder


def _build(module: GoModule, go: toolchain.Toolchain, folder: Path) -> None:
    def run(*arguments: str) -> str:
        command = [str(go.go), *arguments]
        result = subprocess.run(
            command, cwd=module.source, env=toolchain.environment(go), check=False, capture_output=True, text=True
        )
        if result.returncode != 0:
            raise DevclusterError(f"the build failed: {' '.join(command)}\n{result.stderr[-4000:]}")
        return result.stdout

    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".build-") as scratch:
        unfinished = Path(scratch) / "bin"
        unfinished.mkdir()
        flags = ("-p", str(PARALLEL_COMPILERS), *BUILD_FLAGS, "-ldflags", module.linker_flags)
        run("build", *flags, "-o", f"{unfinished}/", *module.packages)
        module.complete(unfinished, run)
        unfinished.rename(folder)


def _directive(source: Path, pattern: str) -> str:
    found = re.search(pattern, (source / "go.mod").read_text(), re.MULTILINE)
    if found is None:
        raise DevclusterError(f"{source / 'go.mod'} has no line like {pattern}")
    return found[1]


def _remove_unused(current: Path) -> None:
    """Remove binaries of earlier inputs, a few hundred megabytes each, unless a cluster runs on them.

    A younger folder may be another working copy's, whose cluster is not on record yet.
    """
    records = [record for record in map(state.read, state.names()) if record is not None]
    in_use = {current, *(Path(record.binaries) for record in records)}
    recently = time.time() - UNUSED_SECONDS
    for folder in current.parent.iterdir():
        if folder not in in_use and folder.stat().st_mtime < recently:
            shutil.rmtree(folder, ignore_errors=True)
