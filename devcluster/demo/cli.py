"""The demo's command line: `up`, `down`, and `push` for the images alone."""

import argparse
import sys
from collections.abc import Sequence

from rich.console import Console

from devcluster.demo import publish, story
from devcluster.demo.checklist import Checklist
from devcluster.demo.targets import LocalCluster, Target, UserCluster
from devcluster.errors import DevclusterError


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit code."""
    arguments = _parser().parse_args(argv)
    console = Console(highlight=False, soft_wrap=True)
    try:
        return int(arguments.command(arguments, console))
    except DevclusterError as error:
        print(f"\n{error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("\ninterrupted; `make demo` goes on from here, `make down` removes what was started", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m devcluster.demo", description="An assistant on Kubernetes, from nothing."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    up = commands.add_parser("up", help="bring the demo up, or up to date, and ask it a question")
    _context(up)
    _images(up, "where the images are pushed, as host/path; not needed with kind, k3d and minikube")
    up.set_defaults(command=_up)
    down = commands.add_parser("down", help="take it down")
    _context(down)
    down.set_defaults(command=_down)
    push = commands.add_parser("push", help="build the images of operator, runtime and chat page, and push them")
    _images(push, "where to push them, as host/path")
    push.set_defaults(command=_push)
    return parser


def _context(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--context", help="a context of your kubeconfig; left out: the demo's own cluster on this machine"
    )


def _images(parser: argparse.ArgumentParser, description: str) -> None:
    parser.add_argument("--registry", default="", help=description)
    parser.add_argument("--base-image", default="", help="base to build on, instead of the one in the Dockerfiles")


def _up(arguments: argparse.Namespace, console: Console) -> int:
    target: Target = LocalCluster()
    if arguments.context:
        target = UserCluster(arguments.context, arguments.registry, arguments.base_image)
    story.up(target, console)
    return 0


def _down(arguments: argparse.Namespace, console: Console) -> int:
    with Checklist(console) as checklist:
        target: Target = UserCluster(arguments.context) if arguments.context else LocalCluster()
        target.down(checklist)
    return 0


def _push(arguments: argparse.Namespace, console: Console) -> int:
    with Checklist(console) as checklist:
        references = publish.release(arguments.registry, arguments.base_image, checklist)
    console.print(f"""
Install the operator from there:
  helm upgrade --install assistant-operator helm/assistant-operator \\
    --namespace assistant-operator-system --create-namespace \\
    --set image.repository={references.operator.rpartition(":")[0]}""")
    return 0
