"""What kstatus, the library by which Flux tells whether an object is done, says of objects: the library itself."""

import json
import subprocess
from collections.abc import Iterable
from pathlib import Path

from devcluster import gomodule
from devcluster.gomodule import GoModule
from devcluster.progress import Silent
from tests.support.api import Object

_MODULE = GoModule(
    title="kstatus from source (once; about half a minute on 2 cores)",
    source=Path(__file__).parent / "go/kstatus",
    packages=(".",),
    folder="kstatus",
)


def statuses(objects: Iterable[Object]) -> list[str]:
    """Return Current, InProgress, Failed, Terminating or Unknown for each object."""
    program = gomodule.ensure(_MODULE, Silent()) / "kstatus"
    done = subprocess.run(
        [program], input=json.dumps(list(objects)), capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.split()
