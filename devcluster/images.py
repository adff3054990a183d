"""Build images on a machine that reaches no container registry: a Debian base, and Dockerfiles on top of it.

The base comes from Debian's packages. A Dockerfile names its base by the build argument BASE_IMAGE, so that the same
file is built on the ordinary base wherever a registry can be reached. Storage and archives are in this project's
cache, apart from the images that a user keeps.
"""

import configparser
import hashlib
import io
import os
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path

from devcluster import archive, packages
from devcluster.errors import DevclusterError
from devcluster.packages import SYSTEM_PATH
from devcluster.paths import cache_dir, lock
from devcluster.progress import Progress, Silent

BASE = "localhost/devcluster-base:bookworm"
BASE_ARGUMENT = "BASE_IMAGE"

DEBIAN_RELEASE = "bookworm"
DEBIAN_PACKAGES = ("ca-certificates", "python3", "python3-venv", "tzdata")

DOCUMENTATION = ("/usr/share/doc/*", "/usr/share/info/*", "/usr/share/locale/*", "/usr/share/man/*")
"""Never read in a container, and a fifth of the base's size."""

PIP_CONFIG = "/etc/pip.conf"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"

BUILD_LOCK = "image-build"
"""One for all builds: what is found before a build is then what a killed one has left."""

RECIPE_LABEL = "devcluster.recipe"


def base(progress: Progress | None = None) -> str:
    """Return the name of the Debian base image, making it first when it is missing.

    Raises
    ------
    DevclusterError
        The tools are missing, or making it failed.
    """
    progress = progress or Silent()
    packages.ensure(packages.IMAGE_PROGRAMS, progress)
    with lock(BUILD_LOCK):
        recipe = hashlib.sha256("\n".join(_mmdebstrap(Path("base.tar"))).encode()).hexdigest()[:16]
        if _label(BASE) != recipe:
            with progress.step(f"Making the base image (Debian {DEBIAN_RELEASE} with Python; once)"):
                _make_base(recipe)
    return BASE


def build(
    tag: str,
    dockerfile: Path,
    context: Path,
    *,
    target: str | None = None,
    args: Mapping[str, str] | None = None,
    progress: Progress | None = None,
) -> Path:
    """Build an image and return a docker-archive of it; what is unchanged is not built again.

    Parameters
    ----------
    tag
        Full name, such as localhost/assistant-runtime:dev.
    dockerfile
        The file with the steps.
    context
        Folder that the steps copy from; its .dockerignore is respected.
    target
        Stage to build; the last one when None.
    args
        Build arguments. BASE_IMAGE is the Debian base unless it is among them.
    progress
        Told of the step.

    Raises
    ------
    DevclusterError
        A step failed; with the end of what it wrote.
    """
    progress = progress or Silent()
    arguments = {**(args or {})}
    if BASE_ARGUMENT not in arguments:
        arguments[BASE_ARGUMENT] = base(progress)
    with progress.step(f"Building {tag}"), lock(BUILD_LOCK), tempfile.TemporaryDirectory() as scratch:
        identity = Path(scratch) / "id"
        options = ["--tag", tag, "--file", str(dockerfile), "--iidfile", str(identity)]
        options += ["--target", target] if target else []
        for key, value in arguments.items():
            options += ["--build-arg", f"{key}={value}"]
        for source, destination in _machine_settings(Path(scratch)).items():
            options += ["--volume", f"{source}:{destination}:ro"]
        _build(options, context)
        return _archive(tag, identity.read_text().strip())


def pip_settings(environment: Mapping[str, str]) -> str:
    """Return this machine's pip configuration, files and environment, as the text of one file.

    A setting that names a local folder without content (as of prebuilt wheels) is left out: pip would warn. The
    bundle of certificates is where `certificates` is shown.
    """
    merged = _pip_config(environment)
    if "cert" in merged["global"]:
        merged["global"]["cert"] = CERTIFICATES
    text = io.StringIO()
    merged.write(text)
    return text.getvalue()


def certificates(environment: Mapping[str, str]) -> bytes:
    """Return the certificates that this machine trusts, those that pip is told to trust among them."""
    files = [Path(CERTIFICATES)]
    if chosen := _pip_config(environment)["global"].get("cert"):
        files.append(Path(chosen).expanduser().resolve())
    return b"\n".join(file.read_bytes() for file in dict.fromkeys(files) if file.is_file())


def _pip_config(environment: Mapping[str, str]) -> configparser.ConfigParser:
    merged = configparser.ConfigParser(interpolation=None)
    merged.read([PIP_CONFIG, Path.home() / ".config/pip/pip.conf"])
    if not merged.has_section("global"):
        merged.add_section("global")
    for key, value in environment.items():
        if key.startswith("PIP_") and not _is_empty_folder(value):
            merged["global"][key.removeprefix("PIP_").lower().replace("_", "-")] = value
    return merged


def _machine_settings(scratch: Path) -> dict[Path, str]:
    """Return what the steps of a build see of this machine while they run, and no image keeps."""
    pip = scratch / "pip.conf"
    pip.write_text(pip_settings(os.environ))
    visible = {pip: PIP_CONFIG}
    # A network that inspects TLS is trusted by this machine's bundle, not by the base's.
    if trusted := certificates(os.environ):
        bundle = scratch / "certificates.crt"
        bundle.write_bytes(trusted)
        visible[bundle] = CERTIFICATES
    return visible


def _build(options: Sequence[str], context: Path) -> None:
    # chroot: the isolation that works inside containers and virtual machines too. The format docker keeps the
    # image's ID in an archive, and knows HEALTHCHECK.
    # --force-rm: a build that fails leaves no container; one that was killed did, and its mounts.
    fixed = ["--isolation", "chroot", "--layers", "--force-rm", "--format", "docker", "--pull-never"]
    _buildah("rm", "--all")
    _buildah("build", *fixed, *options, str(context))


def _archive(tag: str, identity: str) -> Path:
    """Write an image as an archive whose name tells its content, unless it is there already."""
    folder = cache_dir() / "images"
    folder.mkdir(parents=True, exist_ok=True)
    stem = tag.replace("/", "_").replace(":", "_")
    digest = identity.removeprefix("sha256:")
    target = folder / f"{stem}-{digest[:16]}.tar"
    if not target.exists():
        unfinished = target.with_suffix(".tmp")
        unfinished.unlink(missing_ok=True)
        _buildah("push", digest, f"docker-archive:{unfinished}:{tag}")
        archive.images(unfinished)
        unfinished.replace(target)
    for other in folder.glob(f"{stem}-{'?' * 16}.tar"):
        if other != target:
            other.unlink()
    return target


def _make_base(recipe: str) -> None:
    with tempfile.TemporaryDirectory(dir=_storage()) as scratch:
        root = Path(scratch) / "base.tar"
        _run(_mmdebstrap(root))
        dockerfile = Path(scratch) / "Dockerfile"
        steps = ["FROM scratch", "ADD base.tar /", f"LABEL {RECIPE_LABEL}={recipe}", 'CMD ["python3"]']
        dockerfile.write_text("\n".join(steps) + "\n")
        _build(["--tag", BASE, "--file", str(dockerfile)], Path(scratch))


def _mmdebstrap(target: Path) -> list[str]:
    return [
        "mmdebstrap",
        "--variant=minbase",
        f"--include={','.join(DEBIAN_PACKAGES)}",
        *(f"--dpkgopt=path-exclude={pattern}" for pattern in DOCUMENTATION),
        # Something to mount over: a build that sees this machine's settings then leaves no trace of them.
        f"--customize-hook=touch $1{PIP_CONFIG}",
        DEBIAN_RELEASE,
        str(target),
    ]


def _label(image: str) -> str:
    """Return the recipe that an image was made by; empty when there is no such image."""
    template = f'{{{{ index .OCIv1.Config.Labels "{RECIPE_LABEL}" }}}}'
    with suppress(DevclusterError):
        return _buildah("inspect", "--type", "image", "--format", template, image).strip()
    return ""


def _storage() -> Path:
    """Return the folder for images, made if need be."""
    folder = cache_dir() / "buildah"
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def _buildah(command: str, *arguments: str) -> str:
    folder = _storage()
    where = ["--root", str(folder / "storage"), "--runroot", str(folder / "run"), "--storage-driver", "overlay"]
    return _run(["buildah", *where, command, *arguments])


def _run(command: Sequence[str]) -> str:
    env = {**os.environ, "PATH": f"{os.environ.get('PATH', '')}:{SYSTEM_PATH}"}
    result = subprocess.run(command, check=False, capture_output=True, text=True, env=env)
    if result.returncode != 0:
        output = (result.stdout + result.stderr).strip()
        raise DevclusterError(f"{' '.join(command)} failed. The end of what it wrote:\n{output[-3000:]}")
    return result.stdout


def _is_empty_folder(value: str) -> bool:
    folder = Path(value)
    return folder.is_absolute() and folder.is_dir() and not any(folder.iterdir())
