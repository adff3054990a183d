"""Start the real Milvus of the Python package `milvus`, with its embedded etcd and its data in one folder.

It takes the command of the official image, `milvus run standalone`, and its environment: the server itself reads every
setting of milvus.yaml from a variable of that name, such as COMMON_SECURITY_AUTHORIZATIONENABLED.
"""

import lzma
import os
import sys
from importlib.util import find_spec
from pathlib import Path

from milvus import MilvusServerConfig

UNPACK = "unpack"
COMMAND = ["run", "standalone"]


def main() -> None:
    """Unpack the programs into a folder, at build time, or become the server."""
    match sys.argv[1:]:
        case [command, folder] if command == UNPACK:
            unpack(Path(folder))
        case [*program, run, mode] if [run, mode] == COMMAND and program in ([], ["milvus"]):
            serve(Path(os.environ.get("MILVUS_HOME", "/opt/milvus")))
        case other:
            sys.exit(f"only `milvus {' '.join(COMMAND)}` can be run here, not: {' '.join(other)}")


def unpack(folder: Path) -> None:
    """Unpack the server and its libraries, 250 MB, which the package has compressed."""
    spec = find_spec("milvus")
    if spec is None or spec.origin is None:
        raise SystemExit("the package milvus, which holds the server, is not installed")
    folder.mkdir(parents=True)
    for packed in (Path(spec.origin).parent / "data" / "bin").glob("*.lzma"):
        program = folder / packed.stem
        program.write_bytes(lzma.decompress(packed.read_bytes()))
        program.chmod(0o755)


def serve(programs: Path) -> None:
    """Write the configuration into the data folder, and become the server."""
    data = os.environ.get("MILVUS_DATA_DIR", "/var/lib/milvus")
    MilvusServerConfig(data_dir=data).resolve()
    environment = {
        "DEPLOY_MODE": "STANDALONE",
        "PROXY_PORT": "19530",
        "METRICS_PORT": "9091",
        **os.environ,
        "LD_LIBRARY_PATH": str(programs),
        "MILVUS_RUN_DIR": f"{data}/run",
    }
    os.chdir(data)  # where it looks for its configuration
    os.execve(programs / "milvus", ["milvus", *COMMAND], environment)  # noqa: S606 - no shell is wanted


if __name__ == "__main__":
    main()
