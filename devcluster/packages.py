"""The Debian programs that a node needs: found on PATH, installed when root and missing, or named to the user.

What is already there is used whatever it comes from: installing Debian's containerd over a vendor's would remove
the user's Docker.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping

from devcluster.errors import DevclusterError
from devcluster.paths import lock
from devcluster.progress import Progress

NODE_PROGRAMS = {
    "/usr/lib/cni/bridge": "containernetworking-plugins",
    "conntrack": "conntrack",
    "containerd": "containerd",
    "ip": "iproute2",
    "mount": "mount",
    "nft": "nftables",
    "nsenter": "util-linux",
    "runc": "runc",
}
"""Program, on PATH or by its full path, and the Debian package that has it."""

IMAGE_PROGRAMS = {"buildah": "buildah", "mmdebstrap": "mmdebstrap", "runc": "runc"}

SYSTEM_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""Administrators' programs are not on every user's PATH."""


def missing(programs: Mapping[str, str]) -> list[str]:
    """Return the packages of those programs that are not there."""
    return sorted({package for program, package in programs.items() if not _exists(program)})


def ensure(programs: Mapping[str, str], progress: Progress) -> None:
    """Install the packages of those programs that are missing.

    Raises
    ------
    DevclusterError
        Something is missing and this user or system can't install it.
    """
    if not missing(programs):
        return
    with lock("packages"):
        packages = missing(programs)
        command = ["apt-get", "install", "--yes", "--no-install-recommends", "--no-remove", *packages]
        if os.geteuid() != 0 or shutil.which("apt-get") is None:
            raise DevclusterError(f"these packages are missing; as root, run: {' '.join(command)}")
        if packages:
            with progress.step(f"Installing Debian packages: {' '.join(packages)}"):
                _apt(["apt-get", "update"])
                _apt(command)


def _apt(command: list[str]) -> None:
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    result = subprocess.run(command, env=env, check=False, capture_output=True, text=True)
    if result.returncode != 0:
        raise DevclusterError(f"{' '.join(command)} failed:\n{(result.stdout + result.stderr)[-3000:]}")


def _exists(program: str) -> bool:
    if program.startswith("/"):
        return os.access(program, os.X_OK)
    return shutil.which(program, path=SYSTEM_PATH) is not None
