"""Python environments of servers that no program of this project imports, one for each content of a lock.

Their licences and dependencies stay apart from the project's own environment. The image of such a server is built from
the same lock.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from pathlib import Path

from devcluster.errors import DevclusterError
from devcluster.paths import cache_dir, lock

COMPLETE = "complete"
"""Marks an environment that was installed to its end: one without it is made anew."""

PROJECT_UV = Path(__file__).parents[1] / ".cache" / "uv" / "bin" / "uv"


def ensure(requirements: Path) -> Path:
    """Return the environment of a lock with hashes, making it first when it is missing.

    Raises
    ------
    DevclusterError
        There is no uv, or it could not install what the lock names; with the end of what it wrote.
    """
    content = requirements.read_bytes() + sys.version.encode()
    name = f"{requirements.parent.name}-{hashlib.sha256(content).hexdigest()[:12]}"
    folder = cache_dir() / "venvs" / name
    with lock(f"venv-{name}"):
        if not (folder / COMPLETE).exists():
            shutil.rmtree(folder, ignore_errors=True)
            _uv("venv", "--python", sys.executable, str(folder))
            python = str(folder / "bin" / "python")
            _uv("pip", "install", "--python", python, "--require-hashes", "--requirement", str(requirements))
            (folder / COMPLETE).touch()
    return folder


def _uv(*arguments: str) -> None:
    result = subprocess.run([_program(), "--quiet", *arguments], check=False, capture_output=True, text=True)
    if result.returncode != 0:
        output = (result.stdout + result.stderr).strip()
        raise DevclusterError(f"`uv {' '.join(arguments)}` failed. The end of what it wrote:\n{output[-3000:]}")


def _program() -> str:
    for candidate in (os.environ.get("UV", ""), str(PROJECT_UV)):
        if Path(candidate).is_file():
            return candidate
    found = shutil.which("uv")
    if found is None:
        raise DevclusterError("uv is missing: `make install` brings it, or put it on PATH")
    return found
