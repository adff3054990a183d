"""The rows that `growth` fills its databases with: sessions of many tenants, usage, audit chains, keys and agents.

Of whatever size a table is, a tenant has the same part of it: 1,000 sessions and 10 agents. Nothing is so old that it
would expire.
"""

import hashlib
import time
from collections.abc import Iterable
from typing import Any

SESSIONS_OF_A_TENANT = 1000
AGENTS_OF_A_TENANT = 10
RECORDS_OF_A_CHAIN = 1000
SPAN_SECONDS = 20 * 86_400.0
"""From the oldest row to the newest."""

MESSAGES = '[{"role":"user","content":"How are you?"},{"role":"assistant","content":"Well, thank you."}]'
AGENT = {"name": "helper", "prompt": "Help. " * 50}
BODY = '{"event":"request","method":"POST","path":"/v1/chat/completions","status":200,"tenant":"t","time":1}'

_NOW = "extract(epoch FROM now())"
_WHEN = f"({_NOW} - {SPAN_SECONDS} * (1 - i / ($rows)::float8))"
_SERIES = "FROM generate_series(0, $rows - 1) AS i"

STATEMENTS = {
    "sessions": f"""
        INSERT INTO assistant_sessions (id, tenant, title, metadata, version, message_count, created, updated)
        SELECT 'sess_' || md5(i::text), 'tenant' || i / {SESSIONS_OF_A_TENANT}, '',
            CASE WHEN i % 3 = 0 THEN '{{"api":"responses"}}' ELSE '{{}}' END, 1, 2, {_WHEN}, {_WHEN} {_SERIES}""",
    "units": f"""
        INSERT INTO assistant_session_units
            (session_id, version, key, first, last, messages, open_calls, incomplete, created)
        SELECT 'sess_' || md5(i::text), 1, 'key', 1, 2, '{MESSAGES}', '[]', false, {_WHEN} {_SERIES}""",
    "usage": f"""
        INSERT INTO assistant_usage (key_id, model, day, requests, input_tokens, output_tokens)
        SELECT 'key_' || i % 20000, 'm', to_char(now() - i / 20000 * interval '1 day', 'YYYY-MM-DD'), 1, 2, 3
        {_SERIES}""",
    "audit records": f"""
        INSERT INTO assistant_audit (chain, sequence, body, mac)
        SELECT lpad(to_hex(({_NOW} * 1000000)::bigint - 1000000 * (($rows - i) / {RECORDS_OF_A_CHAIN})), 16, '0')
                || '-' || left(md5((i / {RECORDS_OF_A_CHAIN})::text), 16),
            i % {RECORDS_OF_A_CHAIN} + 1, '{BODY}', md5(i::text) || md5(i::text) {_SERIES}""",
    "keys": f"""
        INSERT INTO assistant_api_keys (id, digest, hint, name, "user", tenant, scopes, created)
        SELECT 'key_' || i, md5(i::text) || md5(i::text), 'hint', 'bench', '', 'tenant' || i, '["chat"]', {_NOW}
        {_SERIES}""",
    "agents": f"""
        INSERT INTO assistant_agents (tenant, name, version, agent)
        SELECT 'tenant' || i / {AGENTS_OF_A_TENANT}, 'agent' || i, 1, '{{"name":"helper","prompt":"Help."}}'
        {_SERIES}""",
}
"""A statement for each table, in which `$rows` stands for how many."""


def _md5(number: int) -> str:
    return hashlib.md5(str(number).encode(), usedforsecurity=False).hexdigest()


def session(number: int) -> str:
    """Give a session's id."""
    return f"sess_{_md5(number)}"


def digest(number: int) -> str:
    """Give a key's digest."""
    return _md5(number) * 2


def documents(rows: int) -> dict[str, Iterable[dict[str, Any]]]:
    """Give the documents of each collection."""
    return {
        "sessions": (_session(number, rows) for number in range(rows)),
        "session_units": (_unit(number, rows) for number in range(rows)),
        "audit": (_record(number, rows) for number in range(rows)),
        "agents": (_agent(number) for number in range(rows)),
        "writing_jobs": (_job(number, rows) for number in range(rows)),
    }


def _when(number: int, rows: int) -> float:
    return time.time() - SPAN_SECONDS * (1 - number / rows)


def _session(number: int, rows: int) -> dict[str, Any]:
    return {
        "_id": session(number),
        "tenant": f"tenant{number // SESSIONS_OF_A_TENANT}",
        "title": "",
        "metadata": '{"api":"responses"}' if number % 3 == 0 else "{}",
        "version": 1,
        "message_count": 2,
        "created": _when(number, rows),
        "updated": _when(number, rows),
    }


def _unit(number: int, rows: int) -> dict[str, Any]:
    return {
        "_id": f"{session(number)}/1",
        "session": session(number),
        "version": 1,
        "key": "key",
        "first": 1,
        "last": 2,
        "messages": MESSAGES,
        "open_calls": "[]",
        "incomplete": False,
        "created": _when(number, rows),
    }


def _record(number: int, rows: int) -> dict[str, Any]:
    chain, sequence = number // RECORDS_OF_A_CHAIN, number % RECORDS_OF_A_CHAIN + 1
    begun = int((time.time() - 3600 * (rows // RECORDS_OF_A_CHAIN - chain)) // 3600 * 3600 * 1_000_000)
    name = f"{begun:016x}-{_md5(chain)[:16]}"
    return {"_id": f"{name}/{sequence}", "chain": name, "sequence": sequence, "body": BODY, "mac": digest(number)}


def _agent(number: int) -> dict[str, Any]:
    tenant, name = f"tenant{number // AGENTS_OF_A_TENANT}", f"agent{number}"
    return {"_id": f"{tenant}/{name}", "tenant": tenant, "agent": AGENT | {"name": name}, "version": 1}


def _job(number: int, rows: int) -> dict[str, Any]:
    job = {"id": f"write_{number}", "created": _when(number, rows), "updated": _when(number, rows), "status": "done"}
    return {"_id": job["id"], "owner": "", "tenant": f"tenant{number // 1000}", "waits": False, "job": job}
