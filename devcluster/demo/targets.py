"""Where the demo runs: on a cluster that is made on this machine for it, or on one that the user has."""

import json
import re
import shutil
from typing import Protocol

from devcluster import cluster, images, state
from devcluster.demo import publish
from devcluster.demo.checklist import Checklist
from devcluster.demo.kubernetes import Kubernetes
from devcluster.demo.recipes import MODEL_SERVER, OPERATOR, REDIS, RUNTIME, Recipe, References
from devcluster.errors import DevclusterError
from devcluster.paths import cache_dir

CLUSTER = "dev"
"""Name of the demo's own cluster."""

OLDEST_MINOR = 29
"""Oldest Kubernetes 1.x that the chart supports."""

SYSTEM_NAMESPACE = "assistant-operator-system"
NAMESPACE = "assistants"
RELEASE = "assistant-operator"
DEFINITION = "aiassistants.aiassistant.dev"
DEMO_LABEL = "aiassistant.dev/demo"
"""Marks the namespaces that the demo made, and so may delete."""


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

    def hints(self) -> list[str]:
        """Return the lines of shell that make a user's own kubectl talk to it."""


class LocalCluster:
    """The demo's own cluster on this machine."""

    down_command = "make down"

    def start(self, checklist: Checklist) -> Kubernetes:
        """Start it, building Kubernetes first where that was never done."""
        with checklist.step(f"Kubernetes cluster {CLUSTER} on this machine"):
            if cluster.get(CLUSTER):
                checklist.note("already running")
            self._cluster = cluster.up(CLUSTER, progress=checklist)
        return Kubernetes(str(self._cluster.kubectl), str(self._cluster.helm), kubeconfig=self._cluster.kubeconfig)

    def deliver(self, checklist: Checklist) -> References:
        """Build the images from Debian and Python packages, and load them into the node."""
        references = [self._image(recipe, checklist) for recipe in (OPERATOR, RUNTIME, MODEL_SERVER, REDIS)]
        return References(*references)

    def _image(self, recipe: Recipe, checklist: Checklist) -> str:
        reference = recipe.reference()
        with checklist.step(f"Image {reference}"):
            archive = images.build(
                reference, recipe.dockerfile, recipe.context, target=recipe.target, progress=checklist
            )
            self._cluster.load(archive)
            _remove_older(recipe, reference)
        return reference

    def down(self, checklist: Checklist) -> None:
        """Take the cluster down, with all that is on it."""
        if not state.files(CLUSTER).folder.exists():
            checklist.note(f"There is no cluster {CLUSTER}: nothing to take down.")
            return
        with checklist.step(f"Taking cluster {CLUSTER} down"):
            cluster.down(CLUSTER)

    def hints(self) -> list[str]:
        """Return how to reach the cluster and its own kubectl and helm."""
        return [f"export KUBECONFIG={self._cluster.kubeconfig} PATH={self._cluster.binaries}:$PATH"]


def _remove_older(recipe: Recipe, reference: str) -> None:
    """Remove archives of the image's earlier contents: hundreds of megabytes each."""
    current = reference.replace("/", "_").replace(":", "_")
    stem = f"localhost_{recipe.name}_"
    for archive in (cache_dir() / "images").glob(f"{stem}*.tar"):
        if (
            re.fullmatch(rf"{re.escape(stem)}[0-9a-f]{{12}}-[0-9a-f]{{16}}", archive.stem)
            and current not in archive.stem
        ):
            archive.unlink(missing_ok=True)


class UserCluster:
    """A cluster of the user's, by a context of the user's kubeconfig."""

    def __init__(self, context: str, registry: str) -> None:
        self._context = context
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
        return publish.deliver(self._context, self._registry, checklist)

    def down(self, checklist: Checklist) -> None:
        """Remove what the demo put there: the namespaces that it made, and the definition when nobody else uses it."""
        kubernetes = self.start(checklist)
        namespaces = kubernetes.get("namespaces", "--selector", f"{DEMO_LABEL}=true")["items"]
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

    def hints(self) -> list[str]:
        """Return how to choose the context."""
        return [f"kubectl config use-context {self._context}"]


def _delete_definition(kubernetes: Kubernetes, checklist: Checklist) -> None:
    """Delete the AIAssistant definition, which helm keeps, unless that would delete someone's assistants."""
    if not kubernetes.get("crd", DEFINITION):
        return
    others = kubernetes.get("aiassistants.aiassistant.dev", "--all-namespaces")["items"]
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
