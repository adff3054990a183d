"""Firecrawl's API, versions 1 and 2: scrape, map, search and crawl. Pages are read by the workers, not here.

Shapes as documented at https://docs.firecrawl.dev/api-reference/v2-introduction and for version 1.
"""

import os
from http import HTTPStatus
from typing import Any
from urllib.parse import quote, urlsplit
from uuid import UUID

import jobs
import psycopg
import redis
from serving import AnswerError, Body, ask, not_found, serve

MAX_TIMEOUT_MS = 300_000
SEARCH_SECONDS = 30.0
MAX_PAGES = 1000
SITES = "stand-in:sites"
"""List in Redis of the sites that the worker shall walk through."""


def main() -> None:
    """Serve."""
    serve(int(os.environ["PORT"]), route)


def store() -> "redis.Redis[bytes]":
    """Give a client of Firecrawl's own Redis."""
    return redis.Redis.from_url(os.environ["REDIS_URL"], socket_timeout=5)


def route(method: str, path: str, body: Body) -> Any:
    """Answer a request, also when a server that it takes is away."""
    try:
        return answer(method, path, body)
    except (OSError, psycopg.Error, redis.RedisError) as error:
        raise AnswerError(HTTPStatus.INTERNAL_SERVER_ERROR, "UNKNOWN_ERROR", f"a server is away: {error}") from None


def answer(method: str, path: str, body: Body) -> Any:
    """Answer a request."""
    match method, [part for part in path.split("?", maxsplit=1)[0].split("/") if part]:
        case "GET", ["v0", "health", "liveness"]:
            return {"status": "ok"}
        case "GET", ["v0", "health", "readiness"]:
            jobs.prepare()
            store().ping()
            return {"status": "ok"}
        case "GET", ["admin", key, "queues"] if key == os.environ["BULL_AUTH_KEY"]:
            return {"sites": store().llen(SITES)}
        case "POST", [("v1" | "v2") as version, ("scrape" | "map" | "search" | "crawl") as action]:
            return ACTIONS[action](version, body)
        case (("GET" | "DELETE"), [("v1" | "v2"), "crawl", identity]):
            return cancel(identity) if method == "DELETE" else progress(identity)
    raise not_found(path)


def scrape(_: str, body: Body) -> Any:
    """Read one page."""
    document = read(address(body), body)
    return {"success": True, "data": only(document, body)}


def links(version: str, body: Body) -> Any:
    """List the addresses that a page of a site leads to within it."""
    start = address(body)
    document = read(start, body)
    wanted = str(body.get("search") or "").lower()
    found = [
        url for url in dict.fromkeys((start, *document["links"])) if same_site(url, start) and wanted in url.lower()
    ]
    found = found[: number(body, "limit", MAX_PAGES)]
    return {"success": True, "links": [{"url": url} for url in found] if version == "v2" else found}


def search(version: str, body: Body) -> Any:
    """Search by the SearXNG of SEARXNG_ENDPOINT."""
    endpoint, query = os.environ.get("SEARXNG_ENDPOINT"), body.get("query")
    if not isinstance(query, str) or not query:
        raise AnswerError(HTTPStatus.BAD_REQUEST, "BAD_REQUEST", "query: must be a text")
    if not endpoint:
        raise AnswerError(HTTPStatus.INTERNAL_SERVER_ERROR, "SEARCH_FAILED", "this stand-in searches by SearXNG alone")
    told = ask(f"{endpoint}/search?format=json&q={quote(query)}", timeout=SEARCH_SECONDS)
    results = [
        {"url": each["url"], "title": each.get("title") or "", "description": each.get("content") or ""}
        for each in told["results"][: number(body, "limit", 5)]
    ]
    return {"success": True, "data": {"web": results} if version == "v2" else results}


def crawl(version: str, body: Body) -> Any:
    """Begin to walk through a site."""
    start = address(body)
    identity = jobs.add_site(start, number(body, "limit", MAX_PAGES))
    store().lpush(SITES, str(identity))
    return {"success": True, "id": str(identity), "url": f"http://{os.environ.get('HOST')}/{version}/crawl/{identity}"}


def progress(identity: str) -> Any:
    """Tell how far a crawl is, with the pages that were read."""
    found = site(identity)
    pages = jobs.pages_of(found["id"])
    read = [page["document"] for page in pages if page["status"] == "completed"]
    return {
        "success": True,
        "status": found["status"],
        "total": len(pages),
        "completed": len(read),
        "creditsUsed": len(read),
        "expiresAt": "2100-01-01T00:00:00Z",  # the stand-in keeps what it has
        "data": [only(document, {}) for document in read],
    }


def cancel(identity: str) -> Any:
    """End a crawl."""
    jobs.end_site(site(identity)["id"], "cancelled")
    return {"status": "cancelled"}


ACTIONS = {"scrape": scrape, "map": links, "search": search, "crawl": crawl}


def site(identity: str) -> jobs.Row:
    """Find a crawl by what the client calls it."""
    try:
        found = jobs.site(UUID(identity))
    except ValueError:
        found = None
    if found is None:
        raise AnswerError(HTTPStatus.NOT_FOUND, "NOT_FOUND", f"there is no crawl {identity}")
    return found


def address(body: Body) -> str:
    """Give the address that the client names."""
    url = body.get("url")
    if not isinstance(url, str) or urlsplit(url).scheme not in ("http", "https"):
        raise AnswerError(HTTPStatus.BAD_REQUEST, "BAD_REQUEST", "url: must be an address, http:// or https://")
    return url


def number(body: Body, name: str, most: int) -> int:
    """Give a number of things that the client limits."""
    value = body.get(name, most)
    if not isinstance(value, int) or value < 1:
        raise AnswerError(HTTPStatus.BAD_REQUEST, "BAD_REQUEST", f"{name}: must be a positive number")
    return min(value, most)


def same_site(url: str, start: str) -> bool:
    """Tell whether two addresses are of one server."""
    return urlsplit(url).netloc == urlsplit(start).netloc


def read(url: str, body: Body) -> dict[str, Any]:
    """Let a worker read a page, and wait for it."""
    seconds = number(body, "timeout", MAX_TIMEOUT_MS) / 1000
    page = jobs.wait(jobs.add_page(url), seconds)
    if page is None:
        raise AnswerError(HTTPStatus.REQUEST_TIMEOUT, "SCRAPE_TIMEOUT", f"{url} was not read in {seconds:g} s")
    if page["status"] == "failed":
        raise AnswerError(HTTPStatus.INTERNAL_SERVER_ERROR, "SCRAPE_FAILED", page["error"])
    document: dict[str, Any] = page["document"]
    return document


def only(document: dict[str, Any], body: Body) -> dict[str, Any]:
    """Leave of a document what the client asks for: Markdown unless it names other formats."""
    asked = body.get("formats") or ["markdown"]
    formats = {each.get("type") if isinstance(each, dict) else each for each in asked}
    return {name: value for name, value in document.items() if name in formats or name == "metadata"}
