"""Where the demo runs: on a cluster that is made on this machine for it, or on one that the user has."""

import json
import re
import shutil
from pathlib import Path
from typing import Protocol

from devcluster import cluster, images, state
from devcluster.demo import publish
from devcluster.demo.checklist import Checklist
from devcluster.demo.kubernetes import Kubernetes
from devcluster.demo.recipes import LOCAL, MODEL_SERVER, OPERATOR, REDIS, RUNTIME, Recipe, References
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
"""Marks the namespaces that the demo made, and so may delete."""


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
        """Start it, building Kubernetes first where that was never done."""
        with checklist.step(f"Kubernetes cluster {CLUSTER} on this machine"):
            running = cluster.get(CLUSTER)
            if running:
                checklist.note("already running")
            self._cluster = running or cluster.up(CLUSTER, nodes=NODES, progress=checklist)
        return Kubernetes(str(self._cluster.kubectl), str(self._cluster.helm), kubeconfig=self._cluster.kubeconfig)

    def deliver(self, checklist: Checklist) -> References:
        """Build the images from Debian and Python packages, and load them into the node."""
        references = [self._image(recipe, checklist) for recipe in (OPERATOR, RUNTIME, MODEL_SERVER, REDIS)]
        return References(*references)

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
        """Remove what the demo put there: the namespaces that it made, and the definition when nobody else uses it."""
        kubernetes = self.start(checklist)
        namespaces = kubernetes.items("namespaces", "--selector", f"{DEMO_LABEL}=true")
        made = [each["metadata"]["name"] for each in namespaces]
        if NAMESPACE in made:
            with checklist.step(f"Deleting namespace {NAMESPACE} and the assistant in it"):
                kubernetes.kubectl("delete", "namespace", NAMESPACE)
        if SYSTEM_NAMESPACE in made:
            with checklist.step("Uninstalling the operator"):
                kubernetes.helm("uninstall", RELEASE, "--namespace", SYSTEM_NAMESPACE, "--ignore-not-found", "--wait")
                kubernetes.kubectl("delete", "namespace", SYSTEM_NAMESPACE)
            _delete_definition(kubernetes, checklist)
        if not made:
            checklist.note("The demo made nothing here: there is nothing to take down.")


def _delete_definition(kubernetes: Kubernetes, checklist: Checklist) -> None:
    """Delete the AIAssistant definition, which helm keeps, unless that would delete someone's assistants."""
    if not kubernetes.get("crd", DEFINITION):
        return
    others = kubernetes.items(DEFINITION, "--all-namespaces")
    if others:
        namespaces = ", ".join(sorted({each["metadata"]["namespace"] for each in others}))
        checklist.note(f"The AIAssistant definition stays, for the assistants in: {namespaces}")
        return
    with checklist.step("Deleting the AIAssistant definition"):
        kubernetes.kubectl("delete", "crd", DEFINITION)


def _program(name: str) -> str:
    found = shutil.which(name)
    if found is None:
        raise DevclusterError(
            f"{name} is not on PATH: install it, or run `make demo` without CONTEXT, which needs none"
        )
    return found
