"""The programs of a cluster, compiled from their Go modules."""

from pathlib import Path

from devcluster import gomodule
from devcluster.gomodule import Go, GoModule
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


def binaries(progress: Progress) -> Path:
    """Return the folder with every program of a cluster, building it first when it is missing.

    Raises
    ------
    DevclusterError
        Go can't be had, or the build failed.
    """
    return gomodule.ensure(module(), progress)


def module(source: Path = SOURCE) -> GoModule:
    """Return the module of the programs in `source`."""
    return GoModule(
        title="Kubernetes from source (once; about 10 minutes on 2 cores)",
        source=source,
        packages=PACKAGES,
        folder="bin",
        linker_flags=_linker_flags(kubernetes_version(source)),
        complete=_link_programs,
    )


def kubernetes_version(source: Path = SOURCE) -> str:
    """Return the version of Kubernetes that is built, such as v1.35.4."""
    return gomodule.required(source, "k8s.io/kubernetes")


def _linker_flags(version: str) -> str:
    """Strip symbols, and stamp the version that Kubernetes reports: a module build leaves it at v0.0.0.

    helm renders charts for a version of Kubernetes of its own, an old one, unless it is told another.
    """
    major, minor, _ = version.removeprefix("v").split(".", 2)
    stamps = {"gitVersion": version, "gitMajor": major, "gitMinor": minor, "gitTreeState": "clean"}
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    defined = [f"-X {package}.{key}={value}" for package in packages for key, value in stamps.items()]
    for package in ("helm.sh/helm/v3/pkg/chartutil", "helm.sh/helm/v3/pkg/lint/rules"):
        defined += [f"-X {package}.k8sVersionMajor={major}", f"-X {package}.k8sVersionMinor={minor}"]
    return " ".join(["-s", "-w", *defined])


def _link_programs(folder: Path, _: Go) -> None:
    for program in PROGRAMS:
        (folder / program).symlink_to(MULTI_CALL)
