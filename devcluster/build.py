"""Build the binaries of a cluster once, into a folder named by a hash of all that they are made from.

Compiling Kubernetes takes minutes, so that a build must never be repeated without cause and never be trusted when
its inputs changed: the folder's name is the answer to both. It appears under that name only when it is complete.
"""

import hashlib
import json
import os
import re
import shutil
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path

from devcluster import state, toolchain
from devcluster.errors import DevclusterError
from devcluster.paths import cache_dir, lock
from devcluster.progress import Progress

SOURCE = Path(__file__).parent / "go"

PACKAGES = (".", "./pause", "helm.sh/helm/v3/cmd/helm")
"""One module for all of them: what they share is compiled once."""

MULTI_CALL = "devcluster"
PROGRAMS = (
    "coredns",
    "etcd",
    "kube-apiserver",
    "kube-controller-manager",
    "kube-proxy",
    "kube-scheduler",
    "kubectl",
    "kubelet",
    "pki",
    "volume-provisioner",
)
"""Names under which the multi-call binary is linked, so that it is each of these programs."""

BUILD_FLAGS = ("-trimpath", "-mod=readonly", "-buildvcs=false")
"""The same result wherever the sources are: also in a working copy whose history git refuses to read."""

PARALLEL_COMPILERS = 2
"""Each can take a gigabyte of memory on the largest packages."""


UNUSED_SECONDS = 24 * 3600.0
"""Binaries that were built or asked for later are not removed."""


def binaries(progress: Progress) -> Path:
    """Return the folder with every program of a cluster, building it first when it is missing.

    Raises
    ------
    DevclusterError
        Go can't be had, or the build failed.
    """
    minimum = _directive(r"^go (\S+)$")
    folder = _folder(toolchain.find(minimum).version)
    if folder.exists():
        with suppress(OSError):  # another user's
            os.utime(folder)
        return folder
    with lock("build"):
        go = toolchain.ensure(minimum, progress)
        if not folder.exists():
            with progress.step("Building Kubernetes from source (once; about 10 minutes on 2 cores)"):
                _build(go, folder)
            toolchain.drop_caches()
            _remove_unused(folder)
    return folder


def cache_key(source: Path, go_version: str) -> str:
    """Hash all that decides what the binaries in `source` become."""
    digest = hashlib.sha256(json.dumps([go_version, PACKAGES, BUILD_FLAGS, _linker_flags(source)]).encode())
    files = [source / "go.mod", source / "go.sum", *source.rglob("*.go")]
    for file in sorted(files):
        content = hashlib.sha256(file.read_bytes()).hexdigest()
        digest.update(f"{file.relative_to(source)} {content}\n".encode())
    return digest.hexdigest()[:16]


def kubernetes_version(source: Path = SOURCE) -> str:
    """Return the version of Kubernetes that is built, such as v1.35.4."""
    return _directive(r"^\s*k8s\.io/kubernetes (v\S+)$", source)


def _folder(go_version: str) -> Path:
    return cache_dir() / "bin" / cache_key(SOURCE, go_version)


def _directive(pattern: str, source: Path = SOURCE) -> str:
    found = re.search(pattern, (source / "go.mod").read_text(), re.MULTILINE)
    if found is None:
        raise DevclusterError(f"{source / 'go.mod'} has no line like {pattern}")
    return found[1]


def _linker_flags(source: Path) -> str:
    """Strip symbols, and stamp the version that Kubernetes reports: a module build leaves it at v0.0.0.

    helm renders charts for a version of Kubernetes of its own, an old one, unless it is told another.
    """
    version = kubernetes_version(source)
    major, minor, _ = version.removeprefix("v").split(".", 2)
    stamps = {"gitVersion": version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    defined = [f"-X {package}.{key}={value}" for package in packages for key, value in stamps.items()]
    for package in ("helm.sh/helm/v3/pkg/chartutil", "helm.sh/helm/v3/pkg/lint/rules"):
        defined += [f"-X {package}.k8sVersionMajor={major}", f"-X {package}.k8sVersionMinor={minor}"]
    return " ".join(["-s", "-w", *defined])


def _build(go: toolchain.Toolchain, folder: Path) -> None:
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder.parent, prefix=".build-") as scratch:
        unfinished = Path(scratch) / "bin"
        unfinished.mkdir()
        command = [str(go.go), "build", "-p", str(PARALLEL_COMPILERS), *BUILD_FLAGS]
        command += ["-ldflags", _linker_flags(SOURCE), "-o", f"{unfinished}/", *PACKAGES]
        result = subprocess.run(
            command, cwd=SOURCE, env=toolchain.environment(go), check=False, capture_output=True, text=True
        )
        if result.returncode != 0:
            raise DevclusterError(f"the build failed: {' '.join(command)}\n{result.stderr[-4000:]}")
        for program in PROGRAMS:
            (unfinished / program).symlink_to(MULTI_CALL)
        unfinished.rename(folder)


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
