"""The audit log's table, and what is asked of it."""

from typing import Any

from sqlalchemy import Column, Integer, MetaData, String, Table, Text, delete, func, literal, select, tuple_

from assistant_runtime.stores.sql import once

METADATA = MetaData()

AUDIT = Table(
    "assistant_audit",
    METADATA,
    Column("chain", String(64), primary_key=True),
    Column("sequence", Integer, primary_key=True, autoincrement=False),
    Column("body", Text, nullable=False),
    Column("mac", String(64), nullable=False),
)


def heads(limit: int) -> Any:
    """Ask for the last record of each of the chains that were begun last.

    From chain to chain by the index, so that it costs the same however many records there are: a GROUP BY reads all.
    """
    newest = select(select(func.max(AUDIT.c.chain)).scalar_subquery().label("chain"), literal(1).label("place"))
    walk = newest.cte("newest", recursive=True)
    older = select(func.max(AUDIT.c.chain)).where(AUDIT.c.chain < walk.c.chain).scalar_subquery()
    walk = walk.union_all(select(older, walk.c.place + 1).where(walk.c.chain.is_not(None), walk.c.place < limit))
    every = AUDIT.alias("every")
    last = select(func.max(every.c.sequence)).where(every.c.chain == walk.c.chain).scalar_subquery()
    return select(AUDIT).join(walk, AUDIT.c.chain == walk.c.chain).where(AUDIT.c.sequence == last)


def behind(chain: str, sequence: int, limit: int) -> Any:
    """Ask for records in order, behind one."""
    following = select(AUDIT).where(tuple_(AUDIT.c.chain, AUDIT.c.sequence) > tuple_(chain, sequence))
    return following.order_by(AUDIT.c.chain, AUDIT.c.sequence).limit(limit)


def last_after(chain: str) -> Any:
    """Ask for the last record of the first chain behind one."""
    following = select(func.min(AUDIT.c.chain)).where(AUDIT.c.chain > chain).scalar_subquery()
    return select(AUDIT).where(AUDIT.c.chain == following).order_by(AUDIT.c.sequence.desc()).limit(1)


def first(chain: str, limit: int) -> Any:
    """Delete the first records of a chain; those that another replica deletes at the same moment are passed over."""
    own = select(AUDIT.c.sequence).where(AUDIT.c.chain == chain).order_by(AUDIT.c.sequence).limit(limit)
    return delete(AUDIT).where(AUDIT.c.chain == chain, AUDIT.c.sequence.in_(once(own))).returning(AUDIT.c.sequence)
