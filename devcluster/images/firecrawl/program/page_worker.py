"""What stands for Firecrawl's nuq-worker: loads pages by the browser service, and makes Markdown of them."""

import os
import sys
import time
from typing import Any
from urllib.parse import urldefrag, urljoin

import jobs
import psycopg
from bs4 import BeautifulSoup
from markdownify import MarkdownConverter
from serving import ask, serve_worker

IDLE_SECONDS = 0.1
AWAY_SECONDS = 1.0
PAGE_SECONDS = 30.0
NOT_CONTENT = ("title", "script", "style", "noscript", "nav", "header", "footer", "aside", "form")
FAILED_STATUS = 400


def main() -> None:
    """Work, and answer the probes."""
    serve_worker(work, int(os.environ["NUQ_WORKER_PORT"]), "/health")


def work() -> None:
    """Read one page after another, for ever."""
    while True:
        try:
            jobs.prepare()
            with jobs.connection() as to:
                to.autocommit = True
                while True:
                    with jobs.next_page(to) as page:
                        if page:
                            fill(page)
                    time.sleep(0 if page else IDLE_SECONDS)
        except psycopg.OperationalError as error:
            print(f"the database is away: {error}", file=sys.stderr, flush=True)
            time.sleep(AWAY_SECONDS)


def fill(page: jobs.Row) -> None:
    """Put a page's document into it, or why there is none."""
    try:
        request = {"url": page["url"], "timeout": int(PAGE_SECONDS * 1000)}
        loaded = ask(os.environ["PLAYWRIGHT_MICROSERVICE_URL"], request, timeout=PAGE_SECONDS * 2)
        if loaded["pageStatusCode"] >= FAILED_STATUS:
            page["status"], page["error"] = "failed", f"the page answered {loaded['pageStatusCode']}"
        else:
            page["document"], page["status"] = document(loaded["content"], page["url"]), "completed"
    except (OSError, ValueError, KeyError) as error:
        page["status"], page["error"] = "failed", f"the page was not loaded: {error}"


def document(html: str, url: str) -> dict[str, Any]:
    """Make Markdown of a page, with its links and what it says of itself."""
    soup = BeautifulSoup(html, "html.parser")
    title = soup.title.get_text(strip=True) if soup.title else ""
    found = dict.fromkeys(urldefrag(urljoin(url, str(anchor["href"]))).url for anchor in soup.find_all("a", href=True))
    for each in soup(NOT_CONTENT):
        each.decompose()
    body = soup.body or soup
    language = soup.html.get("lang") if soup.html else None
    return {
        "markdown": str(MarkdownConverter(heading_style="ATX").convert_soup(body)).strip(),
        "html": str(body),
        "links": [link for link in found if link.startswith(("http://", "https://"))],
        "metadata": {"title": title, "language": language, "sourceURL": url, "url": url, "statusCode": 200},
    }
