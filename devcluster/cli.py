"""The command line: `python -m devcluster up`, `down` and the rest.

Standard output carries only what was asked for; progress and errors go to standard error.
"""

import argparse
import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from devcluster import build, cluster, images, state
from devcluster.cluster import Cluster
from devcluster.errors import DevclusterError
from devcluster.progress import Terminal
from devcluster.proxies import without_proxies

DEFAULT_NAME = "dev"


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = _parser().parse_args(argv)
    try:
        return int(arguments.command(arguments))
    except DevclusterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; `devcluster down` cleans what was started", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m devcluster", description="A real Kubernetes on this machine.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    _add(commands, "build", _build, "build the programs (minutes, once)")
    up = _add(commands, "up", _up, "bring a cluster up; does nothing when it is up")
    _name(up)
    up.add_argument("--nodes", type=int, default=1, help="how many nodes (default: 1); needs root")
    up.add_argument(
        "--control-plane-only", action="store_true", help="an API server on loopback and no nodes; needs no root"
    )
    up.add_argument("--json", action="store_true", help="print the cluster as JSON")

    down = _add(commands, "down", _down, "take a cluster down and remove all that it left")
    _name(down)
    down.add_argument("--all", action="store_true", help="every cluster of this cache")
    down.add_argument("--owner", help="every cluster that was started with DEVCLUSTER_OWNER set to this")

    status = _add(commands, "status", _status, "list the clusters and what runs in them")
    status.add_argument("--json", action="store_true", help="print them as JSON")

    load = _add(commands, "load", _load, "load image archives into every node")
    load.add_argument("name", metavar="NAME", help="the cluster")
    load.add_argument("archives", metavar="ARCHIVE", nargs="+", type=Path, help="file as of `docker save`")

    kubeconfig = _add(commands, "kubeconfig", _kubeconfig, "print the path of the administrator's kubeconfig")
    _name(kubeconfig)

    logs = _add(commands, "logs", _logs, "print the log of a component")
    logs.add_argument("name", metavar="NAME", help="the cluster")
    logs.add_argument("component", metavar="COMPONENT", nargs="?", help="left out: list them")
    logs.add_argument("-f", "--follow", action="store_true", help="keep printing what is added")

    for tool in ("kubectl", "helm"):
        command = _add(commands, tool, _tool, f"run {tool} against a cluster: {tool} NAME -- ARGUMENTS")
        command.set_defaults(tool=tool)
        command.add_argument("name", metavar="NAME", help="the cluster")
        command.add_argument("arguments", metavar="ARGUMENTS", nargs=argparse.REMAINDER, help=f"for {tool}")

    _add(commands, "image-base", _image_base, "make the Debian base image, once, and print its name")
    _add(commands, "bin", _bin, "print the folder that has kubectl and helm")
    return parser


def _add(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    name: str,
    command: Callable[[argparse.Namespace], int],
    summary: str,
) -> argparse.ArgumentParser:
    parser = commands.add_parser(name, help=summary, description=summary)
    parser.set_defaults(command=command)
    return parser


def _name(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "name", metavar="NAME", nargs="?", default=DEFAULT_NAME, help=f"the cluster (default: {DEFAULT_NAME})"
    )


def _existing(name: str) -> Cluster:
    found = cluster.get(name)
    if found is None:
        raise DevclusterError(f"cluster {name} is not up; start it: python -m devcluster up {name}")
    return found


def _build(_: argparse.Namespace) -> int:
    print(build.binaries(Terminal()))
    return 0


def _up(arguments: argparse.Namespace) -> int:
    up = cluster.up(
        arguments.name,
        nodes=arguments.nodes,
        control_plane_only=arguments.control_plane_only,
        progress=Terminal(),
    )
    if arguments.json:
        print(json.dumps(_described(up), indent=2))
    else:
        print(f"Cluster {up.name} is up at {up.server}")
        config, folder = shlex.quote(str(up.kubeconfig)), shlex.quote(str(up.binaries))
        print(f"  export KUBECONFIG={config} PATH={folder}:$PATH")
    return 0


def _described(up: Cluster) -> dict[str, object]:
    return {
        "name": up.name,
        "server": up.server,
        "kubeconfig": str(up.kubeconfig),
        "auditLog": str(up.audit_log),
        "nodes": list(up.nodes),
        "kubectl": str(up.kubectl),
        "helm": str(up.helm),
    }


def _down(arguments: argparse.Namespace) -> int:
    progress = Terminal()
    for name in _chosen(arguments):
        if not state.files(name).folder.exists():
            progress.note(f"There is no cluster {name}")
            continue
        with progress.step(f"Taking cluster {name} down"):
            cluster.down(name)
    return 0


def _chosen(arguments: argparse.Namespace) -> list[str]:
    if arguments.owner:
        records = map(state.read, state.names())
        return [record.name for record in records if record is not None and record.owner == arguments.owner]
    return state.names() if arguments.all else [arguments.name]


def _status(arguments: argparse.Namespace) -> int:
    found = [_status_of(name) for name in state.names()]
    if arguments.json:
        print(json.dumps(found, indent=2))
        return 0
    for each in found:
        print(f"{each['name']}: {each['state']}  {each['server']}")
        for component, running in each["components"].items():
            print(f"  {'running' if running else 'ended':8} {component}")
    if not found:
        print("no clusters")
    return 0


def _status_of(name: str) -> dict[str, Any]:
    files, record = state.files(name), state.read(name)
    return {
        "name": name,
        "state": "up" if cluster.get(name) else "incomplete",
        "server": record.server if record else "",
        "nodes": list(record.nodes) if record else [],
        "components": {each: files.process(each) is not None for each in files.components()},
    }


def _load(arguments: argparse.Namespace) -> int:
    target, progress = _existing(arguments.name), Terminal()
    for archive in arguments.archives:
        with progress.step(f"Loading {archive.name} into {target.name}"):
            target.load(archive)
    return 0


def _kubeconfig(arguments: argparse.Namespace) -> int:
    print(_existing(arguments.name).kubeconfig)
    return 0


def _logs(arguments: argparse.Namespace) -> int:
    files = state.files(arguments.name)
    if arguments.component not in files.components():
        known = ", ".join(files.components()) or "none"
        raise DevclusterError(f"name one of the components of cluster {arguments.name}: {known}")
    follow = ["--follow"] if arguments.follow else []
    return subprocess.run(["tail", "--lines=+1", *follow, files.log(arguments.component)], check=False).returncode


def _tool(arguments: argparse.Namespace) -> int:
    target = _existing(arguments.name)
    rest = arguments.arguments[1:] if arguments.arguments[:1] == ["--"] else arguments.arguments
    program = target.binaries / arguments.tool
    environment = {**without_proxies(os.environ), "KUBECONFIG": str(target.kubeconfig)}
    os.execve(program, [arguments.tool, *rest], environment)  # noqa: S606 - the tool takes over this process and its terminal


def _bin(_: argparse.Namespace) -> int:
    print(build.binaries(Terminal()))
    return 0


def _image_base(_: argparse.Namespace) -> int:
    print(images.base(Terminal()))
    return 0
