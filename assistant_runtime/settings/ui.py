"""The chat page: a process of its own that talks to the API as any other client."""

from collections.abc import Iterable
from importlib.util import find_spec
from typing import Annotated, Any

from pydantic import BeforeValidator, Field

from assistant_runtime.settings.process import ProcessGroup
from assistant_runtime.settings.values import Group, http_url


def _assistant_url(value: Any) -> Any:
    return http_url(value, "http://demo.default.svc/v1")


class PageGroup(Group):
    """The chat page."""

    gradio_enabled: bool = Field(
        default=False,
        description="Serve the chat page beside the API, as a process of its own. Needs the extra `ui`.",
    )
    gradio_host: str = Field(
        "0.0.0.0",  # noqa: S104 - as HOST
        description="Address that the chat page listens on; `*` means every address of the IP family of POD_IP.",
    )
    pod_ip: str = Field("", description="Address of the chat page's pod, which its Service uses.")
    gradio_port: int = Field(7860, ge=1, le=65535, description="TCP port that the chat page listens on.")
    gradio_root_path: str = Field(
        "",
        pattern=r"^(/[A-Za-z0-9._~-]+)*$",
        description="Path under which a proxy serves the chat page, such as /chat.",
    )
    assistant_url: Annotated[str | None, BeforeValidator(_assistant_url)] = Field(
        None, description="URL of the API for the chat page, ending in /v1. Empty: this machine, on PORT."
    )

    def problems(self) -> Iterable[str]:
        """Say what is missing for a page."""
        if self.gradio_enabled and find_spec("gradio") is None:
            yield "GRADIO_ENABLED: install the extra `ui` of ai-assistant-operator, or set it to false"


class PageSettings(PageGroup, ProcessGroup):
    """All that the chat page's process reads from its environment: none of it is secret."""


def page_environment(settings: PageGroup) -> dict[str, str]:
    """Return the variables of a page beside the API with these settings."""
    values = {name.upper(): getattr(settings, name) for name in PageSettings.model_fields}
    return {name: str(value) for name, value in values.items() if value is not None}
