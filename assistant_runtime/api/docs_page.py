"""GET /docs: the OpenAPI document as a page that asks no other site for anything, for people on closed networks too."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from html import escape
from typing import Any

from fastapi import FastAPI
from starlette.requests import Request
from starlette.responses import HTMLResponse

REF_PREFIX = "#/components/schemas/"

STYLE = """
:root { color-scheme: light dark; font: 16px/1.5 system-ui, sans-serif }
body { max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
details { border: 1px solid #8886; border-radius: .4rem; margin: .5rem 0; padding: .5rem .8rem }
summary { cursor: pointer; overflow-wrap: anywhere } code, pre { font-family: ui-monospace, monospace }
summary b { display: inline-block; min-width: 4.5rem }
pre { white-space: pre-wrap; overflow-wrap: anywhere; background: #8882; padding: .8rem; border-radius: .4rem }
table { border-collapse: collapse; display: block; overflow-x: auto }
td, th { text-align: left; padding: .2rem .8rem .2rem 0 }
td { vertical-align: top; border-top: 1px solid #8884 }
"""

POLICY = {"content-security-policy": "default-src 'none'; style-src 'unsafe-inline'"}


def install_docs(app: FastAPI) -> None:
    """Serve the page."""

    async def docs(request: Request) -> HTMLResponse:
        return HTMLResponse(page(app.openapi(), str(request.base_url).rstrip("/")), headers=POLICY)

    app.add_route("/docs", docs, include_in_schema=False)


def page(document: Mapping[str, Any], url: str) -> str:
    """Write the page; `url` is where the API is, for the examples."""
    by_tag: dict[str, list[str]] = {}
    for path, operations in document["paths"].items():
        for method, operation in operations.items():
            tag = (operation.get("tags") or ["operation"])[0]
            by_tag.setdefault(tag, []).append("".join(_operation(document, url, path, method, operation)))
    sections = "".join(f"<h2>{escape(tag)}</h2>{''.join(each)}" for tag, each in by_tag.items())
    title = escape(f"{document['info']['title']} {document['info']['version']}")
    return (
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content='width=device-width'>"
        f"<title>{title}</title><style>{STYLE}</style><h1>{title}</h1>"
        f"<p>{escape(document['info'].get('description', ''))} "
        "For programs: <a href='openapi.json'>openapi.json</a>.</p>"
        f"{sections}</html>"
    )


def _operation(
    document: Mapping[str, Any], url: str, path: str, method: str, operation: Mapping[str, Any]
) -> Iterator[str]:
    yield f"<details><summary><b>{method.upper()}</b> <code>{escape(path)}</code> "
    yield f"{escape(operation.get('summary', ''))}</summary>"
    if description := operation.get("description"):
        yield f"<p>{_marked(description)}</p>"
    rows = [
        (each["name"], each["in"], bool(each.get("required")), each.get("description") or "")
        for each in operation.get("parameters") or ()
    ]
    schema = _request(document, operation)
    needed = schema.get("required") or ()
    rows += [
        (name, _type(field), name in needed, field.get("description") or "")
        for name, field in (schema.get("properties") or {}).items()
    ]
    yield _table(("field", "is", "needed", ""), [(n, t, "yes" if must else "", d) for n, t, must, d in rows])
    for example in (schema.get("examples") or ())[:2]:
        yield f"<pre>{escape(_curl(url, path, method, example, secured='security' in operation))}</pre>"
    answers = [(status, answer.get("description", "")) for status, answer in sorted(operation["responses"].items())]
    yield _table(("status", ""), answers) + "</details>"


def _request(document: Mapping[str, Any], operation: Mapping[str, Any]) -> Mapping[str, Any]:
    """Give the schema of the request's JSON; empty where it takes none."""
    content = (operation.get("requestBody") or {}).get("content") or {}
    schema: Mapping[str, Any] = (content.get("application/json") or {}).get("schema") or {}
    name = schema.get("$ref", "").removeprefix(REF_PREFIX)
    return document["components"]["schemas"][name] if name else schema


def _type(field: Mapping[str, Any]) -> str:
    """Say in a word or two what a field is."""
    if "$ref" in field:
        return str(field["$ref"]).rpartition("/")[2]
    if either := field.get("anyOf"):
        return " or ".join(dict.fromkeys(_type(each) for each in either if each.get("type") != "null"))
    if "enum" in field or "const" in field:
        return ", ".join(json.dumps(each) for each in field.get("enum", [field.get("const")]))
    return f"array of {_type(field.get('items') or {})}" if field.get("type") == "array" else field.get("type", "any")


def _curl(url: str, path: str, method: str, example: Any, *, secured: bool) -> str:
    """Write an example as a line for a shell."""
    body = json.dumps(example, ensure_ascii=False).replace("'", "'\\''")
    key = ' -H "Authorization: Bearer $KEY"' if secured else ""
    return f"curl -X {method.upper()} '{url}{path}'{key} -H 'Content-Type: application/json' -d '{body}'"


def _marked(text: str) -> str:
    """Write a text of the document, whose names stand between backticks."""
    return re.sub(r"`([^`]+)`", r"<code>\1</code>", escape(text))


def _table(head: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    """Write a table; nothing without rows."""
    if not rows:
        return ""
    written = "".join(f"<tr>{''.join(f'<td>{_marked(cell)}' for cell in row)}" for row in rows)
    return f"<table><tr>{''.join(f'<th>{cell}' for cell in head)}{written}</table>"
