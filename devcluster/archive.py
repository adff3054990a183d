"""Image archives in the format of `docker save`: read which image one holds, and write the pause image.

The pause image is one static program; an archive of it needs no tool that builds images.
"""

import hashlib
import io
import json
import platform
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devcluster.errors import DevclusterError

MANIFEST = "manifest.json"


@dataclass(frozen=True)
class Image:
    """One image of an archive."""

    identity: str
    """sha256:… of its configuration: what Kubernetes calls the image's ID."""
    tags: tuple[str, ...]


def images(archive: Path) -> list[Image]:
    """Return the images in an archive.

    Raises
    ------
    DevclusterError
        It is not an archive as written by `docker save` or `buildah push … docker-archive:`.
    """
    try:
        with tarfile.open(archive) as tar:
            member = tar.extractfile(MANIFEST)
            entries = json.load(member) if member is not None else []
            return [_image(tar, entry) for entry in entries]
    except (KeyError, OSError, ValueError, tarfile.TarError) as error:
        raise DevclusterError(f"{archive} is no docker-archive of images: {error}") from error


ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64"}
"""What images call the machine's architecture."""


def write_pause(program: Path, tag: str, archive: Path) -> None:
    """Write an image that runs the static program `program` and has nothing else.

    The same program gives the same bytes.
    """
    layer = _tar({program.name: (program.read_bytes(), 0o755)})
    configuration = json.dumps(
        {
            "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
            "os": "linux",
            "config": {"Entrypoint": [f"/{program.name}"], "User": "65535:65535"},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{hashlib.sha256(layer).hexdigest()}"]},
        }
    ).encode()
    name = f"{hashlib.sha256(configuration).hexdigest()}.json"
    manifest = json.dumps([{"Config": name, "RepoTags": [tag], "Layers": ["layer.tar"]}]).encode()
    members = {name: configuration, "layer.tar": layer, MANIFEST: manifest}
    archive.write_bytes(_tar({path: (content, 0o644) for path, content in members.items()}))


def _image(tar: tarfile.TarFile, entry: dict[str, Any]) -> Image:
    configuration = tar.extractfile(entry["Config"])
    if configuration is None:
        raise KeyError(entry["Config"])
    digest = hashlib.sha256(configuration.read()).hexdigest()
    return Image(f"sha256:{digest}", tuple(entry.get("RepoTags") or ()))


def _tar(members: dict[str, tuple[bytes, int]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for path, (content, mode) in members.items():
            header = tarfile.TarInfo(path)
            header.size, header.mode = len(content), mode
            tar.addfile(header, io.BytesIO(content))
    return buffer.getvalue()
