"""CloudNativePG's operator itself: built from its Go module, and installed by the manifest of its release."""

import json
import shutil
from pathlib import Path

import yaml

from devcluster import gomodule, images
from devcluster.cluster import Cluster
from devcluster.demo.recipes import LOCAL, OWN_IMAGES
from devcluster.gomodule import Go, GoModule
from devcluster.progress import Silent
from tests.support.api import Object, RefusedError
from tests.support.kube import Kube, eventually

SOURCE = OWN_IMAGES / "cloudnative-pg"
PATH = "github.com/cloudnative-pg/cloudnative-pg"
VERSION = gomodule.required(SOURCE, PATH)
NAMESPACE = "cnpg-system"
DEPLOYMENT = "cnpg-controller-manager"

_RELEASE = "release.yaml"
_IMAGE = f"{LOCAL}/cloudnative-pg:{VERSION.removeprefix('v')}"


def image() -> Path:
    """Return the archive of its image."""
    return images.build(_IMAGE, SOURCE / "Dockerfile", _programs())


def install(cluster: Cluster) -> None:
    """Have a cluster run it whose nodes have its image, and wait until its webhooks answer the API server."""
    kube = Kube(cluster, NAMESPACE)
    kube.run("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump_all(manifest()), timeout=120)
    kube.run("rollout", "status", f"deployment/{DEPLOYMENT}", "--timeout=180s", timeout=190)
    eventually(
        lambda: "failed calling webhook" not in _refusal(kube), "its webhooks answer", last=lambda: _refusal(kube)
    )


def manifest() -> list[Object]:
    """Return the objects of its release, with the image that is here."""
    objects: list[Object] = list(filter(None, yaml.safe_load_all((_programs() / _RELEASE).read_text())))
    (deployment,) = (body for body in objects if body["kind"] == "Deployment")
    (manager,) = deployment["spec"]["template"]["spec"]["containers"]
    for named in (manager, *(each for each in manager["env"] if each["name"] == "OPERATOR_IMAGE_NAME")):
        named["image" if named is manager else "value"] = _IMAGE
    manager["imagePullPolicy"] = "IfNotPresent"
    return objects


def _refusal(kube: Kube) -> str:
    """Return why the API server would not take a Cluster, empty when it would."""
    head = {"apiVersion": "postgresql.cnpg.io/v1", "kind": "Cluster", "metadata": {"name": "asked"}}
    cluster = {**head, "spec": {"instances": 1, "storage": {"size": "1Gi"}}}
    try:
        kube.api.create(cluster, kube.namespace, keep=False)
    except RefusedError as refused:
        return str(refused)
    return ""


def _programs() -> Path:
    return gomodule.ensure(
        GoModule(
            title=f"CloudNativePG {VERSION} from source (once; about 2 minutes on 2 cores)",
            source=SOURCE,
            packages=(f"{PATH}/cmd/manager",),
            folder="cloudnative-pg",
            complete=_keep_release,
        ),
        Silent(),
    )


def _keep_release(folder: Path, go: Go) -> None:
    """Put the manifest of the release beside the program: Go's cache of modules may be emptied."""
    sources = Path(json.loads(go("list", "-mod=readonly", "-m", "-json", PATH))["Dir"])
    shutil.copyfile(sources / "releases" / f"cnpg-{VERSION.removeprefix('v')}.yaml", folder / _RELEASE)
