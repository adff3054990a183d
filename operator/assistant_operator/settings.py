"""The operator's own settings, from environment variables with the prefix ASSISTANT_OPERATOR_."""

import json
from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from assistant_operator import __version__

DEFAULT_IMAGES = {
    "runtime": f"localhost/assistant-runtime:{__version__}",
    "ui": f"localhost/assistant-ui:{__version__}",
    "redis": "docker.io/library/redis:7.4.11-alpine",
    "mongodb": "docker.io/library/mongo:7.0.43",
    "postgresql": "docker.io/library/postgres:15.19-bookworm",
    "milvus": "docker.io/milvusdb/milvus:v2.5.27",
    "searxng": "docker.io/searxng/searxng:2026.9.25-12f8b6515",
    # Firecrawl gives its images no versions; these are of one day, 25 July 2026.
    "firecrawl": "ghcr.io/firecrawl/firecrawl@sha256:9a7d66ba9471188f148494aaefef52c6271e07b95b75f28e60c375cc63d1b350",
    "firecrawl-browser": (
        "ghcr.io/firecrawl/playwright-service@sha256:8c50add7293201e575110e6c7489fa383a9dfc46f168936526a458e06ffc5c28"
    ),
    "firecrawl-postgresql": (
        "ghcr.io/firecrawl/nuq-postgres@sha256:aed86f62858f29bd971abddcdeb301c12888098d2cf5d33c1ba42b053bc460f6"
    ),
}
"""Images by name, pinned; the chart's `defaultImages` has the same."""

LONGEST_LEASE_SECONDS = 300
"""A Lease is never waited for longer, whatever it says."""
LEASE_MARGIN_SECONDS = 2
"""Time between the leader's last write and the first of another; it bears a pause of the process and a slow clock."""


class Settings(BaseSettings):
    """Settings of one operator process. The chart sets each of them from a value of the same name."""

    model_config = SettingsConfigDict(
        env_prefix="ASSISTANT_OPERATOR_", frozen=True, extra="forbid", use_attribute_docstrings=True
    )

    watch_namespaces: Annotated[tuple[str, ...], NoDecode] = ()
    """Namespaces to watch, separated by commas; empty means all."""
    images: Annotated[dict[str, str], NoDecode, Field(validate_default=True)] = {}
    """Images of what an AIAssistant names none for, as a JSON object; what is not in it has the default."""
    workers: Annotated[int, Field(ge=1, le=64)] = 8
    """AIAssistants that are reconciled at once."""
    resync_seconds: Annotated[int, Field(ge=10)] = 600
    """Mean time between two passes over an AIAssistant that nothing happened to."""
    lease: Annotated[str, Field(pattern=r"^([a-z0-9]([-a-z0-9]*[a-z0-9])?/[a-z0-9]([-.a-z0-9]*[a-z0-9])?)?$")] = ""
    """Lease that decides which of several operators writes, as NAMESPACE/NAME; empty: no other one runs."""
    lease_duration_seconds: Annotated[int, Field(le=LONGEST_LEASE_SECONDS)] = 10
    """Time after the last renewal of the Lease when another operator may take it."""
    renew_deadline_seconds: Annotated[int, Field(validate_default=True)] = 6
    """Time after its last renewal of the Lease when the leader stops writing."""
    retry_period_seconds: Annotated[int, Field(ge=1, validate_default=True)] = 2
    """Time between two renewals of the Lease."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = "INFO"
    """Least severity that is logged."""
    log_format: Literal["json", "console"] = "json"
    """One JSON object a line, or text for people."""
    http_port: Annotated[int, Field(ge=0, le=65535)] = 8080
    """Port of /healthz, /readyz and /metrics; 0 picks a free one."""

    @property
    def lease_margin_seconds(self) -> int:
        """Time between the leader's last write and the first of another operator; none without leader election."""
        return self.lease_duration_seconds - self.renew_deadline_seconds if self.lease else 0

    @field_validator("renew_deadline_seconds")
    @classmethod
    def _before_the_lease_ends(cls, deadline: int, info: ValidationInfo) -> int:
        duration = info.data.get("lease_duration_seconds", LONGEST_LEASE_SECONDS)
        if deadline > duration - LEASE_MARGIN_SECONDS:
            raise ValueError(
                f"{deadline} is too long for ASSISTANT_OPERATOR_LEASE_DURATION_SECONDS={duration}: the leader "
                f" must stop {LEASE_MARGIN_SECONDS} seconds before another operator may take it"
            )
        return deadline

    @field_validator("retry_period_seconds")
    @classmethod
    def _twice_before_the_deadline(cls, period: int, info: ValidationInfo) -> int:
        deadline = info.data.get("renew_deadline_seconds", LONGEST_LEASE_SECONDS)
        if period * 2 > deadline:
            raise ValueError(
                f"{period} leaves no second try before ASSISTANT_OPERATOR_RENEW_DEADLINE_SECONDS={deadline}: "
                "take half of that at most"
            )
        return period

    @field_validator("watch_namespaces", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        return tuple(part.strip() for part in value.split(",") if part.strip()) if isinstance(value, str) else value

    @field_validator("images", mode="before")
    @classmethod
    def _read(cls, value: object) -> object:
        try:
            return json.loads(value) if isinstance(value, str) else value
        except ValueError:
            raise ValueError('write a JSON object, such as {"redis": "registry.example.com/redis:7.4.11"}') from None

    @field_validator("images")
    @classmethod
    def _complete(cls, given: dict[str, str]) -> dict[str, str]:
        if unknown := sorted(set(given) - set(DEFAULT_IMAGES)):
            raise ValueError(f"there is no image {', '.join(unknown)}; there are {', '.join(DEFAULT_IMAGES)}")
        return {**DEFAULT_IMAGES, **given}
