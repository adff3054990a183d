"""What every process of the runtime is configured by: where it runs, what it logs, and where the API listens."""

from typing import Annotated, Literal

from pydantic import BeforeValidator, Field

from assistant_runtime.settings.values import Group, lower, upper


class ProcessGroup(Group):
    """The process itself."""

    environment: Annotated[Literal["development", "staging", "production"], BeforeValidator(lower)] = Field(
        "development",
        description="Where this runs. `production` refuses to start without SECRET_KEY and API_KEYS, and with DEBUG.",
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
        description="Address to listen on; `*` is every one, of IPv4 and of IPv6, that the machine has.",
    )
    port: int = Field(8000, ge=1, le=65535, description="TCP port to listen on.")
