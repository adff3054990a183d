"""Build images with the user's docker or buildah, and bring them where the user's cluster finds them."""

import shutil
import subprocess
import tomllib
from collections.abc import Sequence
from dataclasses import dataclass

from devcluster.demo.checklist import Checklist
from devcluster.demo.recipes import LOCAL, MODEL_SERVER, OPERATOR, ROOT, RUNTIME, UI, Recipe, References
from devcluster.errors import DevclusterError

IMAGES = (OPERATOR, RUNTIME, MODEL_SERVER)


@dataclass(frozen=True)
class Builder:
    """The program that builds and pushes images, and the base image to build on."""

    program: str
    base: str = ""
    """Empty: the one that the Dockerfile names."""

    def build(self, recipe: Recipe, reference: str, checklist: Checklist) -> None:
        """Build an image; what is unchanged comes from the builder's own cache."""
        # buildah's own format drops HEALTHCHECK.
        options = ["--layers", "--format", "docker"] if self.program == "buildah" else []
        options += ["--target", recipe.target] if recipe.target else []
        options += ["--build-arg", f"BASE_IMAGE={self.base}"] if self.base else []
        where = ["--file", str(recipe.dockerfile), str(recipe.context)]
        with checklist.step(f"Building {reference}"):
            _run([self.program, "build", *options, "--tag", reference, *where])


def deliver(context: str, registry: str, base: str, checklist: Checklist) -> References:
    """Build the demo's images and bring them to the cluster of a context; return their names there.

    Raises
    ------
    DevclusterError
        There is no builder or no way into the cluster, or one of them failed.
    """
    loader = None if registry else _loader(context)
    if not registry and loader is None:
        raise DevclusterError(
            f"{context} is no context of kind, k3d or minikube, so its nodes must pull the images from a registry: "
            f"make demo CONTEXT={context} REGISTRY=registry.example.com/team (one that you are logged in to)"
        )
    builder = _builder(base)
    references = [recipe.reference(registry or LOCAL) for recipe in IMAGES]
    for recipe, reference in zip(IMAGES, references, strict=True):
        builder.build(recipe, reference, checklist)
        with checklist.step(f"Bringing {reference} to the cluster"):
            _run([*loader, reference] if loader else [builder.program, "push", reference])
    operator, runtime, model_server = references
    return References(operator, runtime, model_server)


def release(registry: str, base: str, checklist: Checklist) -> References:
    """Build the images of operator, runtime and chat page and push them, tagged with the project's version.

    Raises
    ------
    DevclusterError
        No registry was named, there is no builder, or building or pushing failed.
    """
    if not registry:
        raise DevclusterError("name the registry to push to: make push REGISTRY=registry.example.com/team")
    builder = _builder(base)
    version = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]
    pushed = {}
    for recipe in (OPERATOR, RUNTIME, UI):
        pushed[recipe.name] = reference = f"{registry}/{recipe.name}:{version}"
        builder.build(recipe, reference, checklist)
        with checklist.step(f"Pushing {reference}"):
            _run([builder.program, "push", reference])
    return References(pushed[OPERATOR.name], pushed[RUNTIME.name], model_server="")


def _loader(context: str) -> list[str] | None:
    """Return the command that loads an image, named last, into a cluster of containers on the user's own machine."""
    if context == "minikube":
        return ["minikube", "image", "load"]
    prefix, _, cluster = context.partition("-")
    if prefix == "kind":
        return ["kind", "load", "docker-image", "--name", cluster]
    if prefix == "k3d":
        return ["k3d", "image", "import", "--cluster", cluster]
    return None


def _builder(base: str) -> Builder:
    """Choose docker where its daemon answers, else buildah, which has none."""
    if shutil.which("docker") and subprocess.run(["docker", "info"], capture_output=True, check=False).returncode == 0:
        return Builder("docker", base)
    if shutil.which("buildah"):
        return Builder("buildah", base)
    raise DevclusterError("to build the images, start docker, or install buildah (Debian: apt-get install buildah)")


def _run(command: Sequence[str]) -> None:
    try:
        result = subprocess.run(command, check=False, capture_output=True, text=True)
    except FileNotFoundError:
        raise DevclusterError(f"{command[0]} is not on PATH: install it, or push to a registry (REGISTRY=…)") from None
    if result.returncode != 0:
        output = (result.stdout + result.stderr).strip()
        raise DevclusterError(f"`{' '.join(command)}` failed. The end of what it wrote:\n{output[-3000:]}")
