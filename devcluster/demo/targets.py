"""Where the demo runs: on a cluster that is made on this machine for it, or on one that the user has."""

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any, Protocol

from devcluster import cluster, images, state
from devcluster.demo import publish
from devcluster.demo.checklist import Checklist
from devcluster.demo.kubernetes import Kubernetes
from devcluster.demo.recipes import (
    LOCAL,
    MODEL_SERVER,
    OPERATOR,
    RUNTIME,
    Recipe,
    References,
    on_by_default,
)
from devcluster.errors import DevclusterError
from devcluster.paths import cache_dir

CLUSTER = "dev"
"""Name of the demo's own cluster."""

NODES = 2
"""Each offers all of the machine's cores: on two cores, one node has no room for the fourth pod of a rolling update."""

OLDEST_MINOR = 29
"""Oldest Kubernetes 1.x that the chart supports."""

SYSTEM_NAMESPACE = "assistant-operator-system"
NAMESPACE = "assistants"
RELEASE = "assistant-operator"
DEFINITION = "aiassistants.aiassistant.dev"
DEMO_LABEL = "aiassistant.dev/demo"
"""Marks what the demo made, and so may overwrite and delete: namespaces, the release, the assistant and its model."""

DEMO_SELECTOR = f"{DEMO_LABEL}=true"

KEPT_SELECTOR = "app.kubernetes.io/instance=demo,app.kubernetes.io/managed-by=assistant-operator"
"""Objects that the operator made for the AIAssistant of the minimal sample."""

ARCHIVE = re.compile(r".*_[0-9a-f]{12}-[0-9a-f]{16}")
"""Name of the archive of an image whose tag is made from its content: tag and image ID. Others are not the demo's."""


class Target(Protocol):
    """A cluster to run the demo on."""

    @property
    def down_command(self) -> str:
        """Return what the user types to take it down."""

    def start(self, checklist: Checklist) -> Kubernetes:
        """Make sure that it is up, and return how to talk to it."""

    def deliver(self, checklist: Checklist) -> References:
        """Build the images and bring them to its nodes."""

    def down(self, checklist: Checklist) -> None:
        """Take down what the demo put up."""


class LocalCluster:
    """The demo's own cluster on this machine."""

    down_command = "make down"

    def start(self, checklist: Checklist) -> Kubernetes:
        """Start it, building Kubernetes first where that was never done.

        Raises
        ------
        DevclusterError
            This is not root, or the cluster can't be had.
        """
        if os.geteuid() != 0:
            raise DevclusterError(
                "a cluster on this machine needs root, for namespaces and mounts: run `sudo make demo`, "
                "or use a cluster of yours with `make demo CONTEXT=name`"
            )
        with checklist.step(f"Kubernetes cluster {CLUSTER} on this machine"):
            if cluster.get(CLUSTER):
                checklist.note("already running")
            self._cluster = cluster.up(CLUSTER, nodes=NODES, progress=checklist)
        return Kubernetes(str(self._cluster.kubectl), str(self._cluster.helm), kubeconfig=self._cluster.kubeconfig)

    def deliver(self, checklist: Checklist) -> References:
        """Build the images from Debian and Python packages, and load them into the node."""
        operator, runtime, model_server = (self._image(each, checklist) for each in (OPERATOR, RUNTIME, MODEL_SERVER))
        servers = {recipe.name: self._image(recipe, checklist) for recipe in on_by_default()}
        return References(operator, runtime, model_server, servers)

    def _image(self, recipe: Recipe, checklist: Checklist) -> str:
        reference = recipe.reference()
        with checklist.step(f"Image {reference}"):
            archive = None if recipe.version else _archive(reference)
            if archive:
                checklist.note("unchanged")
            else:
                archive = images.build(
                    reference, recipe.dockerfile, recipe.context, target=recipe.target, progress=checklist
                )
                _remove_older(recipe, reference)
            self._cluster.load(archive)
        return reference

    def down(self, checklist: Checklist) -> None:
        """Take the cluster down, with all that is on it."""
        if not state.files(CLUSTER).folder.exists():
            checklist.note(f"There is no cluster {CLUSTER}: nothing to take down.")
            return
        with checklist.step(f"Taking cluster {CLUSTER} down"):
            cluster.down(CLUSTER)


def _archives(name: str) -> list[Path]:
    """Return the archives of an image, by its name as far as it is given."""
    stem = name.replace("/", "_").replace(":", "_")
    return [file for file in (cache_dir() / "images").glob(f"{stem}*.tar") if ARCHIVE.fullmatch(file.stem)]


def _archive(reference: str) -> Path | None:
    """Return the archive of an image whose tag is made from all that is in it: building it again changes nothing."""
    return next(iter(_archives(f"{reference}-")), None)


def _remove_older(recipe: Recipe, reference: str) -> None:
    """Remove archives of the image's earlier contents: hundreds of megabytes each."""
    if recipe.version is None:
        for archive in set(_archives(f"{LOCAL}/{recipe.name}:")) - set(_archives(reference)):
            archive.unlink(missing_ok=True)


class UserCluster:
    """A cluster of the user's, by a context of the user's kubeconfig."""

    def __init__(self, context: str, registry: str = "", base_image: str = "") -> None:
        self._context = context
        self._base_image = base_image
        self._registry = registry.rstrip("/")
        self.down_command = f"make down CONTEXT={context}"

    def start(self, checklist: Checklist) -> Kubernetes:
        """Check that it can be reached, and that it is new enough."""
        kubernetes = Kubernetes(_program("kubectl"), _program("helm"), context=self._context)
        with checklist.step(f"Kubernetes of context {self._context}"):
            version = json.loads(kubernetes.kubectl("version", "--output=json"))["serverVersion"]
            checklist.note(version["gitVersion"])
            minor = int(re.sub(r"\D", "", version["minor"]))
            if int(version["major"]) == 1 and minor < OLDEST_MINOR:
                raise DevclusterError(
                    f"{self._context} runs Kubernetes {version['gitVersion']}; 1.{OLDEST_MINOR} or newer is needed"
                )
        return kubernetes

    def deliver(self, checklist: Checklist) -> References:
        """Build with docker or buildah, and push to the registry or load into the cluster."""
        return publish.deliver(self._context, self._registry, self._base_image, checklist)

    def down(self, checklist: Checklist) -> None:
        """Remove what the demo put there, by its label: also from namespaces that were there before it."""
        kubernetes = self.start(checklist)
        found = kubernetes.items("namespaces", "--selector", DEMO_SELECTOR)
        namespaces = [each["metadata"]["name"] for each in found]
        if namespaces or _has_objects(kubernetes) or release(kubernetes, "--selector", DEMO_SELECTOR):
            _delete_assistant(kubernetes, NAMESPACE in namespaces, checklist)
            _uninstall_operator(kubernetes, SYSTEM_NAMESPACE in namespaces, checklist)
            _tell_what_is_kept(kubernetes, checklist)
        else:
            checklist.note("The demo made nothing here: there is nothing to take down.")


def release(kubernetes: Kubernetes, *options: str) -> bool:
    """Tell whether there is an operator's release, in whatever state, that `options` of `helm list` don't leave out."""
    where = ("--namespace", SYSTEM_NAMESPACE, "--filter", f"^{RELEASE}$")
    return RELEASE in kubernetes.helm("list", "--all", "--short", *where, *options).split()


def _has_objects(kubernetes: Kubernetes) -> bool:
    """Tell whether the demo has an object in a namespace that it did not make."""
    kinds = "deployments,services"
    if kubernetes.get("crd", DEFINITION):
        kinds += f",{DEFINITION}"
    return bool(kubernetes.items(kinds, "--namespace", NAMESPACE, "--selector", DEMO_SELECTOR))


def _delete_assistant(kubernetes: Kubernetes, owns_namespace: bool, checklist: Checklist) -> None:
    """Delete the assistant while its operator still runs, then its model server and the demo's own namespace."""
    with checklist.step(f"Deleting the assistant in namespace {NAMESPACE}"):
        selected = ("--namespace", NAMESPACE, "--selector", DEMO_SELECTOR)
        if kubernetes.get("crd", DEFINITION):
            kubernetes.kubectl("delete", DEFINITION, *selected)
        kubernetes.kubectl("delete", "deployments,services", *selected)
        if owns_namespace:
            kubernetes.kubectl("delete", "namespace", NAMESPACE)


def _uninstall_operator(kubernetes: Kubernetes, owns_namespace: bool, checklist: Checklist) -> None:
    """Uninstall the demo's operator; one of the user's stays, with its definition."""
    if not owns_namespace and not release(kubernetes, "--selector", DEMO_SELECTOR):
        return
    with checklist.step("Uninstalling the operator"):
        kubernetes.helm("uninstall", RELEASE, "--namespace", SYSTEM_NAMESPACE, "--ignore-not-found", "--wait")
        if owns_namespace:
            kubernetes.kubectl("delete", "namespace", SYSTEM_NAMESPACE)
    _delete_definition(kubernetes, checklist)


def _tell_what_is_kept(kubernetes: Kubernetes, checklist: Checklist) -> None:
    """Name what outlives an AIAssistant by its deletion policy: here it may be of an earlier one, of the user's."""
    kept = ("--namespace", NAMESPACE, "--selector", KEPT_SELECTOR)
    if kubernetes.items("secrets,persistentvolumeclaims", *kept):
        checklist.note(
            "The assistant's keys and its data stay, as its deletion policy says. To delete them too:\n"
            f"  kubectl --context {kubernetes.context} delete secrets,persistentvolumeclaims {' '.join(kept)}"
        )


def _delete_definition(kubernetes: Kubernetes, checklist: Checklist) -> None:
    """Delete the demo's AIAssistant definition, which helm keeps, unless that would delete someone's assistants."""
    definition = kubernetes.get("crd", DEFINITION)
    if not definition or not _came_with_the_release(definition):
        return
    others = kubernetes.items(DEFINITION, "--all-namespaces")
    if others:
        namespaces = ", ".join(sorted({each["metadata"]["namespace"] for each in others}))
        checklist.note(f"The AIAssistant definition stays, for the assistants in: {namespaces}")
        return
    with checklist.step("Deleting the AIAssistant definition"):
        kubernetes.kubectl("delete", "crd", DEFINITION)


def _came_with_the_release(found: dict[str, Any]) -> bool:
    annotations = found["metadata"].get("annotations", {})
    owner = [annotations.get(f"meta.helm.sh/release-{part}") for part in ("name", "namespace")]
    return owner == [RELEASE, SYSTEM_NAMESPACE]


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise DevclusterError(
            f"{name} is not on PATH: install it, or run `make demo` without CONTEXT, which needs none"
        )
    return found
