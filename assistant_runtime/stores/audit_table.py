"""The audit log's table, and what is asked of it."""

from typing import Any

from sqlalchemy import Column, Integer, MetaData, String, Table, Text, delete, func, select, tuple_

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
    """Ask for the last record of each of the chains that were begun last."""
    last = select(AUDIT.c.chain, func.max(AUDIT.c.sequence)).group_by(AUDIT.c.chain)
    newest = last.order_by(AUDIT.c.chain.desc()).limit(limit)
    return select(AUDIT).where(tuple_(AUDIT.c.chain, AUDIT.c.sequence).in_(newest))


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
