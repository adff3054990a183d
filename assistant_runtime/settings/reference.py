"""Every setting as a page: what docs/settings.md and `assistant-runtime settings` show."""

from collections.abc import Iterator
from typing import Any

from assistant_runtime.settings import GROUPS

HEAD = """# The runtime's settings

The runtime reads these environment variables once, when it starts. An empty variable counts as not set. If one is
invalid, the runtime exits with code 2 and names the variable and the remedy. `assistant-runtime settings` prints this
page.
"""


def page() -> str:
    """Return the page as Markdown: a table for each group, in the groups' order."""
    return "\n".join([HEAD, *_tables()])


def _tables() -> Iterator[str]:
    for group in GROUPS:
        yield f"## {(group.__doc__ or '').rstrip('.')}\n\n| variable | default | meaning |\n| --- | --- | --- |"
        for name in group.__annotations__:
            if field := group.model_fields.get(name):
                yield f"| `{name.upper()}` | {_default(field.default)} | {field.description} |"
        yield ""


def _default(default: Any) -> str:
    if default is None or default in ("", ()):
        return "empty"
    if isinstance(default, tuple):
        return f"`{','.join(default)}`"
    return f"`{str(default).lower() if isinstance(default, bool) else default}`"
