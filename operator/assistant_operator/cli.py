"""The `assistant-operator` command: run | render | crd | rbac."""

import argparse
import sys
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from assistant_operator import __version__, desired
from assistant_operator.errors import ReconcileError
from assistant_operator.labels import API_VERSION, KIND
from assistant_operator.rights import rules
from assistant_operator.rooms.facts import Facts
from assistant_operator.rooms.manifests import Object, new_object
from assistant_operator.settings import Settings
from assistant_operator.spec.crd import definition
from assistant_operator.spec.parsing import parse


def main(arguments: list[str] | None = None) -> None:
    """Run the command line; the process ends with status 2 after a mistake of the user's."""
    options = _parser().parse_args(arguments)
    try:
        settings = Settings()
    except ValidationError as error:
        _fail("\n".join(_problem(**problem) for problem in error.errors(include_url=False)))
    options.run(options, settings)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="assistant-operator",
        description="Run AI assistants on Kubernetes.",
        epilog="Settings come from environment variables with the prefix ASSISTANT_OPERATOR_; see docs/operator.md.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    run = commands.add_parser("run", help="watch AIAssistants and reconcile them, in a pod or with a kubeconfig")
    run.set_defaults(run=_run)
    render = commands.add_parser("render", help="print every object of an AIAssistant, without a cluster")
    render.add_argument("-f", "--filename", default="-", help="file with AIAssistants; - (default) is standard input")
    render.add_argument("-n", "--namespace", default="default", help="namespace of a resource that names none")
    render.set_defaults(run=_render)
    crd = commands.add_parser("crd", help="print the CustomResourceDefinition")
    crd.set_defaults(run=lambda *_: print(dump([definition()]), end=""))
    rbac = commands.add_parser("rbac", help="print the RBAC rules that the operator needs")
    rbac.set_defaults(run=_rbac)
    return parser


def _run(_: argparse.Namespace, settings: Settings) -> None:
    from assistant_operator.engine import process  # noqa: PLC0415 - the other commands need no kopf, which is slow to import

    process.run(settings)


def _rbac(*_: object) -> None:
    print(_yaml(rules()), end="")


def _render(options: argparse.Namespace, settings: Settings) -> None:
    """Print what would be applied; generated Secrets appear without their values, which exist only in a cluster."""
    rendered: list[Object] = []
    for resource in _read(options.filename):
        resource.setdefault("metadata", {}).setdefault("namespace", options.namespace)
        try:
            assistant = parse(resource)
        except ReconcileError as error:
            _fail(f"{options.filename}: {error.message}")
        rendered += [
            new_object("v1", "Secret", credential.name, assistant, credential.component, type="Opaque")
            for credential in desired.credentials(assistant)
        ]
        rendered += desired.desired(assistant, Facts(settings.images)).objects
    print(dump(rendered), end="")


def _read(filename: str) -> list[dict[str, Any]]:
    try:
        text = sys.stdin.read() if filename == "-" else Path(filename).read_text(encoding="utf-8")
        documents = [document for document in yaml.safe_load_all(text) if document]
    except (OSError, yaml.YAMLError) as error:
        _fail(f"can't read {filename}: {error}")
    found = [document for document in documents if isinstance(document, dict) and document.get("kind") == KIND]
    if not found:
        _fail(f"{filename}: there is no {KIND} (apiVersion: {API_VERSION}) in it")
    return found


class _Dumper(yaml.SafeDumper):
    """YAML as Kubernetes users write it: no anchors, multi-line text as a block."""

    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the signature is PyYAML's
        return True


_Dumper.add_representer(
    str,
    lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style="|" if "\n" in text else None),
)


def dump(objects: list[Object]) -> str:
    """Write objects as a YAML stream."""
    return "---\n".join(_yaml(body) for body in objects)


def _yaml(value: Any) -> str:
    text: str = yaml.dump(value, Dumper=_Dumper, sort_keys=False, width=110, allow_unicode=True)
    return text


def _problem(*, loc: tuple[int | str, ...], msg: str, **_: Any) -> str:
    variable, *within = map(str, loc)
    return f"{'.'.join([f'ASSISTANT_OPERATOR_{variable.upper()}', *within])}: {msg.removeprefix('Value error, ')}"


def _fail(message: str) -> Any:
    print(f"assistant-operator: {message}", file=sys.stderr)
    sys.exit(2)
