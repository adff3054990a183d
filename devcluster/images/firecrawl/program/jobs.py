"""Pages and sites to read, in Firecrawl's own PostgreSQL: a page is a job of its own, a site is many of them."""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any
from uuid import UUID, uuid4

import psycopg
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb

SCHEMA = """
CREATE TABLE IF NOT EXISTS sites (
    id uuid PRIMARY KEY, url text NOT NULL, most int NOT NULL, status text NOT NULL DEFAULT 'scraping'
);
CREATE TABLE IF NOT EXISTS pages (
    id uuid PRIMARY KEY, site uuid REFERENCES sites, url text NOT NULL, number serial,
    status text NOT NULL DEFAULT 'queued', document jsonb, error text, UNIQUE (site, url)
);
"""
SCHEMA_LOCK = 3002
"""Programs that start at once make the tables one after another."""

POLL_SECONDS = 0.1

Row = dict[str, Any]
Connection = psycopg.Connection[Row]


@contextmanager
def connection() -> Iterator[Connection]:
    """Connect to the database of NUQ_DATABASE_URL; what was done is kept when the block ends well."""
    url = os.environ["NUQ_DATABASE_URL"]
    with psycopg.connect(url, row_factory=dict_row, connect_timeout=5) as made:
        yield made


def prepare() -> None:
    """Make the tables unless they are there."""
    with connection() as to:
        to.execute("SELECT pg_advisory_xact_lock(%s)", (SCHEMA_LOCK,))
        to.execute(SCHEMA)


def add_page(url: str, site: UUID | None = None) -> UUID:
    """Queue a page; one that its site has already is not queued twice."""
    identity = uuid4()
    with connection() as to:
        statement = "INSERT INTO pages (id, site, url) VALUES (%s, %s, %s) ON CONFLICT DO NOTHING"
        to.execute(statement, (identity, site, url))
    return identity


def wait(identity: UUID, seconds: float) -> Row | None:
    """Wait until a page is completed or failed, and give it; None where that takes longer."""
    deadline = time.monotonic() + seconds
    done = "SELECT * FROM pages WHERE id = %s AND status <> 'queued'"
    with connection() as to:
        to.autocommit = True
        while (found := to.execute(done, (identity,)).fetchone()) is None and time.monotonic() < deadline:
            time.sleep(POLL_SECONDS)
    return found


def add_site(url: str, most: int) -> UUID:
    """Begin a site of `most` pages at the most, with one page."""
    identity = uuid4()
    with connection() as to:
        to.execute("INSERT INTO sites (id, url, most) VALUES (%s, %s, %s)", (identity, url, most))
    add_page(url, identity)
    return identity


def site(identity: UUID) -> Row | None:
    """Give a site, None where there is none."""
    with connection() as to:
        return to.execute("SELECT * FROM sites WHERE id = %s", (identity,)).fetchone()


def pages_of(identity: UUID) -> list[Row]:
    """Give a site's pages in the order in which they were found."""
    with connection() as to:
        return to.execute("SELECT * FROM pages WHERE site = %s ORDER BY number", (identity,)).fetchall()


def end_site(identity: UUID, status: str) -> None:
    """Say how a site ended, unless it had ended before."""
    with connection() as to:
        to.execute("UPDATE sites SET status = %s WHERE id = %s AND status = 'scraping'", (status, identity))


@contextmanager
def next_page(to: Connection) -> Iterator[Row | None]:
    """Take the oldest page that is queued, None where there is none; what is put into it is kept when the block ends.

    A worker that dies within gives the page back: its transaction is undone, and its lock is gone.
    """
    with to.transaction():
        take = "SELECT * FROM pages WHERE status = 'queued' ORDER BY number LIMIT 1 FOR UPDATE SKIP LOCKED"
        taken = to.execute(take).fetchone()
        yield taken
        if taken:
            done = "UPDATE pages SET status = %s, document = %s, error = %s WHERE id = %s"
            document = Jsonb(taken["document"]) if taken["document"] else None
            to.execute(done, (taken["status"], document, taken["error"], taken["id"]))
