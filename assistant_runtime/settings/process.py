"""What every process of the runtime is configured by: where it runs, what it logs, and where the API listens."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from assistant_runtime.settings.values import Group, lower, upper


class ProcessGroup(Group):
    """The process itself."""

    environment: Annotated[Literal["development", "staging", "production"], BeforeValidator(lower)] = Field(
        "development",
        description=(
            "Kind of environment. `production` requires SECRET_KEY and API_KEYS or OIDC_ISSUER, and refuses DEBUG."
        ),
    )
    log_level: Annotated[Literal["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"], BeforeValidator(upper)] = Field(
        "INFO", description="Lowest level that is logged."
    )
    log_format: Literal["json", "console"] | None = Field(
        None, description="`json` or `console`. Empty: console in development, json elsewhere."
    )
    debug: bool = Field(
        default=False,
        description="Log at DEBUG, and put an internal error's text into the 500 answer.",
    )
    host: str = Field(
        "0.0.0.0",  # noqa: S104 - a container serves its pod's network
        description="Address to listen on; `*` means every IPv4 and IPv6 address of the machine.",
    )
    port: int = Field(8000, ge=1, le=65535, description="TCP port to listen on.")
