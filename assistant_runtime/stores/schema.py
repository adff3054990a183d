"""The SQL schema, step by step: what `sql.migrate` takes in order.

A step that was released is never changed; a change of the schema is a step at the end.
"""

from assistant_runtime.stores import agents_sql, audit_table, conversation_sql, keys, tenants_sql
from assistant_runtime.stores.sql import Step

STEPS: tuple[Step, ...] = (
    conversation_sql.METADATA.create_all,
    keys.METADATA.create_all,
    audit_table.METADATA.create_all,
    agents_sql.METADATA.create_all,
    agents_sql.add_version,
    keys.add_disabled,
    conversation_sql.add_about,
    keys.add_usage_by_day,
    keys.add_limits,
    conversation_sql.add_expiry_indexes,
    tenants_sql.METADATA.create_all,
    keys.add_digests,
    keys.add_allowed,
)
