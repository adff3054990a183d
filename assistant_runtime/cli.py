"""`assistant-runtime serve | page | chat | keys | settings | audit | healthcheck`.

Each command imports what it needs when it runs: a health check starts in milliseconds, every half minute.
"""

import argparse
import gc
import http.client
import json
import os
import socket
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from assistant_runtime.settings import Settings
    from assistant_runtime.settings.values import Group

    SomeSettings = TypeVar("SomeSettings", bound=Group)

HEALTHCHECK_SECONDS = 5.0
"""/health needs nothing: a process that takes longer is stuck."""

CHAT_SECONDS = 300.0
"""A small model on a busy machine may think for minutes."""

EXIT_BAD_SETTINGS = 2


class _Version(argparse.Action):
    """Print the version, which is looked up only then."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        from importlib.metadata import version  # noqa: PLC0415 - see the module's docstring

        print(version("ai-assistant-operator"))
        parser.exit()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command; gives the exit code: 0, 1 for a failure, 2 for bad settings or usage."""
    options = _parser().parse_args(arguments)
    code: int = options.run(options)
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="assistant-runtime", description="The assistant's HTTP API.")
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version, and end")
    commands = parser.add_subparsers(required=True, metavar="command")
    serve = commands.add_parser(
        "serve", help="serve the API", description="Serve the API, configured by the environment (docs/runtime.md)."
    )
    serve.add_argument("--host", help="address to listen on instead of HOST")
    serve.add_argument("--port", type=int, help="port to listen on instead of PORT")
    serve.add_argument(
        "--local",
        action="store_true",
        help="everything on this machine, without a server or key: a small model, embeddings, and stores in files",
    )
    serve.add_argument("--listener", type=int, help=argparse.SUPPRESS)  # the socket that a worker accepts from
    serve.set_defaults(run=_serve)
    page = commands.add_parser(
        "page",
        help="serve the chat page",
        description="Serve the chat page of the API at ASSISTANT_URL (docs/chat-page.md).",
    )
    page.set_defaults(run=_page)
    chat = commands.add_parser("chat", help="ask a running assistant", description="Ask, and print the answer.")
    chat.add_argument("question")
    chat.add_argument("--base-url", default="http://127.0.0.1:8000/v1", help="the API's root (%(default)s)")
    chat.add_argument(
        "--api-key-env",
        default="API_KEY",
        metavar="NAME",
        help="environment variable with the API key; of a list the first counts (%(default)s)",
    )
    chat.add_argument("--model", default="default", help="model to ask (%(default)s)")
    chat.set_defaults(run=_chat)
    _add_keys(commands)
    settings = commands.add_parser(
        "settings", help="list every setting", description="Print every environment variable, as Markdown."
    )
    settings.set_defaults(run=_settings)
    audit = commands.add_parser("audit", help="check the audit log", description="Check the audit log.")
    actions = audit.add_subparsers(required=True, metavar="action")
    verify = actions.add_parser(
        "verify",
        help="find what was changed, left out or cut off",
        description="Read the audit log of the environment's stores, or of log lines; exit 1 if it was tampered with.",
    )
    verify.add_argument("file", nargs="?", help="log lines as JSON, where the audit log is among them")
    verify.set_defaults(run=_verify)
    check = commands.add_parser(
        "healthcheck", help="exit 0 if the server on this machine is alive", description="Ask GET /health."
    )
    check.set_defaults(run=_healthcheck)
    return parser


def _add_keys(commands: Any) -> None:
    keys = commands.add_parser(
        "keys",
        help="make, list and revoke API keys",
        description="Work on the API keys in the database of DATABASE_URL or DATA_DIR (docs/security.md).",
    )
    actions = keys.add_subparsers(required=True, metavar="action", dest="action")
    create = actions.add_parser(
        "create",
        help="make a key",
        description="Make a key. It is printed this once, on standard output and with nothing else.",
    )
    create.add_argument("name", help="what the key is for")
    create.add_argument("--user", help="whose it is: keys of one user share sessions and documents")
    create.add_argument(
        "--scope", action="append", help="what it opens, repeatable; without any: all but admin (docs/security.md)"
    )
    create.add_argument("--model", action="append", help="a model that it may ask, repeatable; without any: all")
    create.add_argument("--tool", action="append", help="a tool that it may use, repeatable; without any: all")
    create.add_argument("--expires-in", type=int, metavar="SECONDS", help="when it ends")
    create.add_argument(
        "--rate-limit", type=int, nargs=2, metavar=("REQUESTS", "SECONDS"), help="a rate limit of its own"
    )
    create.add_argument("--token-budget-daily", type=int, metavar="TOKENS", help="a budget of its own for a day")
    create.add_argument("--token-budget-monthly", type=int, metavar="TOKENS", help="and for a month")
    create.add_argument("--tokens-per-minute", type=int, metavar="TOKENS", help="a limit of its own for any 60 seconds")
    create.add_argument(
        "--max-parallel-requests", type=int, metavar="REQUESTS", help="requests at once, in each replica"
    )
    listing = actions.add_parser("list", help="list the keys", description="List the keys, one a line, without them.")
    listing.add_argument("--user", help="of this user alone")
    revoke = actions.add_parser("revoke", help="end a key", description="Revoke a key for good.")
    revoke.add_argument("id", help="the key's id, as `keys list` has it")
    keys.set_defaults(run=_keys)


def _load_settings(**given: Any) -> "Settings | None":
    """Read the settings, with what the command line gives; says what is wrong with them."""
    from assistant_runtime.settings import Settings  # noqa: PLC0415 - see the module's docstring

    return _load(Settings, **{name: value for name, value in given.items() if value is not None})


def _load(kind: "type[SomeSettings]", **given: Any) -> "SomeSettings | None":
    from assistant_runtime.errors import SettingsError  # noqa: PLC0415 - see the module's docstring

    try:
        return kind.load(**given)
    except SettingsError as error:
        problems = str(error).replace("\n", "\n  ")
        print(f"assistant-runtime: the settings can't be used:\n  {problems}", file=sys.stderr)
        return None


def _page(_: argparse.Namespace) -> int:
    from assistant_runtime.children import end_with_parent  # noqa: PLC0415 - see the module's docstring
    from assistant_runtime.logs import configure_logging  # noqa: PLC0415
    from assistant_runtime.settings.ui import PageSettings  # noqa: PLC0415

    settings = _load(PageSettings)
    if settings is None:
        return EXIT_BAD_SETTINGS
    configure_logging(settings)
    try:
        from assistant_runtime.ui.server import serve_page  # noqa: PLC0415
    except ModuleNotFoundError as error:
        print(f"assistant-runtime: the chat page needs the extra `ui`: {error}", file=sys.stderr)
        return EXIT_BAD_SETTINGS
    end_with_parent()
    serve_page(settings)
    return 0


def _local_settings() -> dict[str, Any]:
    """Give what `--local` means, but for what the environment says itself."""
    # gRPC's library, which Milvus Lite uses, tells each fork otherwise.
    os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
    data = Path(os.environ.get("XDG_DATA_HOME") or Path.home() / ".local" / "share") / "assistant-runtime"
    meant: dict[str, Any] = {
        "local_model_port": _free_port(),
        "embedding_provider": "local",
        "data_dir": str(data),
        # Without keys, nobody but this machine is served.
        "host": "127.0.0.1",
        # The small model calls no tool, and their descriptions would fill its context.
        "tool_calling_enabled": False,
    }
    settings = {name: value for name, value in meant.items() if not os.environ.get(name.upper())}
    Path(settings.get("data_dir", ".")).mkdir(parents=True, exist_ok=True)
    return settings


def _welcome(settings: "Settings") -> str:
    """Tell a person at a terminal what there is now, and what to do with it."""
    url = f"http://{settings.host}:{settings.port}"
    question = '{"messages": [{"role": "user", "content": "What is the sea? Answer in one sentence."}]}'
    return (
        f"An assistant on this machine, at {url}; it answers in a few seconds, when the model is loaded. Ask it:\n\n"
        f"  curl -s {url}/v1/chat/completions -d '{question}'\n\n"
        f"The API is described at {url}/docs. What it keeps is in {settings.data_dir}. Ctrl-C ends it.\n"
    )


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def _serve(options: argparse.Namespace) -> int:
    # What a start imports and builds stays until the end: to look for garbage in it takes a seventh of the start, and
    # later a pause now and then.
    gc.disable()
    from assistant_runtime.children import hide_from_children  # noqa: PLC0415 - see the module's docstring
    from assistant_runtime.logs import configure_logging, warn_of_risks  # noqa: PLC0415 - see the module's docstring

    local = _local_settings() if options.local else {}
    settings = _load_settings(
        **local | {name: getattr(options, name) for name in ("host", "port") if getattr(options, name)}
    )
    if settings is None:
        return EXIT_BAD_SETTINGS
    configure_logging(settings)
    hide_from_children()
    if options.listener is None:
        warn_of_risks(settings)
        if options.local:
            print(_welcome(settings), flush=True)
        if settings.workers > 1:
            from assistant_runtime.workers import serve_with_workers  # noqa: PLC0415 - see the module's docstring

            gc.enable()
            return serve_with_workers(settings)
    return _serve_port(settings, options.listener)


GARBAGE_THRESHOLDS = 20_000, 20, 50
"""Of Python's collector, by generation: next to nothing of a request is garbage in cycles, and to look for it at the
default thresholds takes a twelfth of a request's time."""


def _serve_port(settings: "Settings", listener: int | None) -> int:
    """Serve the port, or, as one of several workers, what comes in at their common socket."""
    from assistant_runtime.children import end_with_parent  # noqa: PLC0415 - see the module's docstring
    from assistant_runtime.server import build_server  # noqa: PLC0415

    server = build_server(settings)
    gc.freeze()
    gc.set_threshold(*GARBAGE_THRESHOLDS)
    gc.enable()
    if listener is None:
        server.run()
    else:
        end_with_parent()
        server.run([socket.socket(fileno=listener)])
    return 1 if server.force_exit or not server.started else 0


def _verify(options: argparse.Namespace) -> int:
    settings = _load_settings()
    if settings is None:
        return EXIT_BAD_SETTINGS
    from assistant_runtime.audit_check import verify  # noqa: PLC0415 - see the module's docstring
    from assistant_runtime.logs import silence  # noqa: PLC0415

    silence()
    return verify(settings, options.file)


def _keys(options: argparse.Namespace) -> int:
    settings = _load_settings()
    if settings is None:
        return EXIT_BAD_SETTINGS
    from assistant_runtime import key_commands  # noqa: PLC0415 - see the module's docstring
    from assistant_runtime.logs import silence  # noqa: PLC0415

    silence()
    return key_commands.run(settings, options)


def _settings(_: argparse.Namespace) -> int:
    from assistant_runtime.settings.reference import page  # noqa: PLC0415 - see the module's docstring

    print(page(), end="")
    return 0


def _chat(options: argparse.Namespace) -> int:
    try:
        for text in ask(options.base_url, _api_key(options.api_key_env), options.model, options.question):
            print(text, end="", flush=True)
    except (OSError, http.client.HTTPException, ChatFailedError) as error:
        print(f"assistant-runtime: {options.base_url}: {error}", file=sys.stderr)
        return 1
    print()
    return 0


def _healthcheck(_: argparse.Namespace) -> int:
    host = os.environ.get("HOST") or "0.0.0.0"  # noqa: S104 - compared, not bound
    connection = http.client.HTTPConnection(
        {"0.0.0.0": "127.0.0.1", "*": "localhost", "::": "::1"}.get(host, host),  # noqa: S104 - compared, not bound
        int(os.environ.get("PORT") or 8000),
        timeout=HEALTHCHECK_SECONDS,
    )
    try:
        connection.request("GET", "/health")
        status = connection.getresponse().status
    except OSError as error:
        print(f"assistant-runtime: not alive: {error}", file=sys.stderr)
        return 1
    finally:
        connection.close()
    return 0 if status == http.HTTPStatus.OK else 1


class ChatFailedError(Exception):
    """The assistant answered with an error."""


def ask(base_url: str, api_key: str, model: str, question: str) -> Iterator[str]:
    """Stream an answer's text.

    Parameters
    ----------
    base_url
        The API's root, with or without its `/v1`.
    api_key
        Sent as a bearer token; empty: none.
    model
        The model's name.
    question
        The user's message.

    Raises
    ------
    ChatFailedError
        The assistant answered with an error, or broke off.
    """
    body = {"model": model, "stream": True, "messages": [{"role": "user", "content": question}]}
    headers = {"content-type": "application/json"}
    if api_key:
        headers["authorization"] = f"Bearer {api_key}"
    connection, path = _connect(base_url)
    try:
        connection.request("POST", path, json.dumps(body).encode(), headers)
        response = connection.getresponse()
        if response.status != http.HTTPStatus.OK:
            raise ChatFailedError(f"{response.status} {_reason(response.read())}")
        yield from _texts(response)
    finally:
        connection.close()


def _connect(base_url: str) -> tuple[http.client.HTTPConnection, str]:
    url = urlsplit(base_url.rstrip("/"))
    kind = http.client.HTTPSConnection if url.scheme == "https" else http.client.HTTPConnection
    root = url.path if url.path.endswith("/v1") else f"{url.path}/v1"
    return kind(url.hostname or "", url.port, timeout=CHAT_SECONDS), f"{root}/chat/completions"


def _texts(lines: http.client.HTTPResponse) -> Iterator[str]:
    for line in lines:
        data = line.removeprefix(b"data:").strip()
        if not line.startswith(b"data:") or not data:
            continue
        if data == b"[DONE]":
            return
        chunk = json.loads(data)
        if "error" in chunk:
            raise ChatFailedError(_reason(data))
        for choice in chunk.get("choices", ()):
            yield choice.get("delta", {}).get("content") or ""
    raise ChatFailedError("the answer broke off")


def _reason(body: bytes) -> str:
    try:
        return str(json.loads(body)["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return body[:200].decode(errors="replace")


def _api_key(variable: str) -> str:
    keys = os.environ.get(variable, "").replace("\n", ",").split(",")
    return next((key.strip() for key in keys if key.strip()), "")
