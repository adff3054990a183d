"""How long what the runtime keeps is kept."""

from pydantic import Field

from assistant_runtime.settings.values import Group

LONGEST_DAYS = 36_500


def _days(default: int, description: str) -> int:
    days: int = Field(default, ge=0, le=LONGEST_DAYS, description=f"{description} 0: until deleted.")
    return days


class RetentionGroup(Group):
    """Retention: when old data is deleted."""

    retention_sessions_days: int = _days(365, "Days that a session is kept after its last change.")
    retention_responses_days: int = _days(
        30, "Days that stored responses are kept after their conversation's last one."
    )
    retention_audit_days: int = _days(400, "Days that audit records are kept in MongoDB or the SQL database.")
    retention_usage_days: int = _days(400, "Days that usage is kept, by key, model and day.")
    retention_jobs_days: int = _days(30, "Days that a writing job is kept after its end.")
