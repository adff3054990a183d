"""What stands for Firecrawl's queue-worker: walks through sites, page by page, as their links lead."""

import os
import sys
import time
from uuid import UUID

import jobs
import psycopg
import redis
from api import SITES, same_site, store
from serving import serve_worker

AT_WORK = "stand-in:sites-at-work"
"""List in Redis of the sites that are being walked through: those of a worker that died are taken up again."""
WAIT_SECONDS = 2.0
POLL_SECONDS = 0.1


def main() -> None:
    """Work, and answer the probes."""
    serve_worker(work, int(os.environ["WORKER_PORT"]), "/liveness")


def work() -> None:
    """Walk through one site after another, for ever."""
    while True:
        try:
            jobs.prepare()
            to = store()
            while to.lmove(AT_WORK, SITES):
                pass
            while True:
                if taken := to.blmove(SITES, AT_WORK, WAIT_SECONDS):
                    walk(UUID(taken.decode()))
                    to.lrem(AT_WORK, 0, taken)
        except (redis.RedisError, psycopg.OperationalError) as error:
            print(f"a server of Firecrawl's own is away: {error}", file=sys.stderr, flush=True)
            time.sleep(WAIT_SECONDS)


def walk(identity: UUID) -> None:
    """Queue the pages that a site's pages lead to, until there are no more or enough."""
    while (site := jobs.site(identity)) and site["status"] == "scraping":
        pages = jobs.pages_of(identity)
        known = {page["url"] for page in pages}
        links = (link for page in pages if page["document"] for link in page["document"]["links"])
        new = [link for link in dict.fromkeys(links) if link not in known and same_site(link, site["url"])]
        for link in new[: site["most"] - len(known)]:
            jobs.add_page(link, identity)
        if not new[: site["most"] - len(known)] and all(page["status"] != "queued" for page in pages):
            jobs.end_site(identity, "completed")
        time.sleep(POLL_SECONDS)
