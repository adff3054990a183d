"""Definitions of other operators' kinds, for an API server that checks our examples of their objects.

The vendor's own come out of Go modules, which Go's tools fetch. Some operators are in no module that can be had: for
those `definitions.yaml` has the fields that we read or that must be given, by their vendors' names and types. Where
`OPERATOR_DEFINITIONS` names a folder with definitions of the vendors, those are taken instead of any of these.
"""

import json
import os
import subprocess
import tempfile
import zipfile
from functools import cache, partial
from pathlib import Path

import yaml

from devcluster import toolchain
from devcluster.progress import Silent
from tests.support import cloudnative_pg
from tests.support.api import Object
from tests.support.kube import Kube, eventually, is_established

MODULES = {
    "clusters.postgresql.cnpg.io": (
        f"{cloudnative_pg.PATH}@{cloudnative_pg.VERSION}",
        "config/crd/bases/postgresql.cnpg.io_clusters.yaml",
    ),
    "mongodbcommunity.mongodbcommunity.mongodb.com": (
        "github.com/mongodb/mongodb-kubernetes-operator@v0.9.0",
        "config/crd/bases/mongodbcommunity.mongodb.com_mongodbcommunity.yaml",
    ),
}
OURS = Path(__file__).with_name("definitions.yaml")


@cache
def definition(crd: str) -> Object:
    """Give a CustomResourceDefinition by its name."""
    found = _given().get(crd)
    if found is None and crd in MODULES:
        found = _of_module(*MODULES[crd])
    return found or _read(OURS)[crd]


def install(kube: Kube, *crds: str) -> None:
    """Have the API server serve kinds, by the names of their definitions."""
    kube.run("apply", "--server-side", "-f", "-", stdin=yaml.safe_dump_all(map(definition, crds)))
    for crd in crds:
        eventually(partial(_is_served, kube, crd), f"{crd} is served")


def _is_served(kube: Kube, crd: str) -> bool:
    return is_established(kube.must("crd", crd))


@cache
def _given() -> dict[str, Object]:
    folder = os.environ.get("OPERATOR_DEFINITIONS")
    found: dict[str, Object] = {}
    for path in sorted(Path(folder).glob("*.yaml")) if folder else ():
        found |= _read(path)
    return found


def _read(path: Path) -> dict[str, Object]:
    return {body["metadata"]["name"]: body for body in yaml.safe_load_all(path.read_text()) if body}


def _of_module(module: str, path: str) -> Object:
    go = toolchain.ensure("1.24", Silent())
    with tempfile.TemporaryDirectory() as folder:
        printed = subprocess.run(
            [str(go.go), "mod", "download", "-json", module],
            env=toolchain.environment(go),
            cwd=folder,
            capture_output=True,
            text=True,
            check=True,
        ).stdout
    with zipfile.ZipFile(Path(json.loads(printed)["Zip"])) as files:
        return yaml.safe_load(files.read(f"{module}/{path}"))
