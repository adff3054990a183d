"""Reading other operators' objects, of which any part may be absent."""

from collections.abc import Mapping
from typing import Any

Body = Mapping[str, Any]
"""An object of another operator, or a part of one."""


def part(body: Body, *path: str) -> Body:
    """Return the part of an object at a path, empty where there is none.

    Some parts, such as a server's own configuration, are checked by no definition, and may be of any form.
    """
    for name in path:
        found = body.get(name)
        body = found if isinstance(found, Mapping) else {}
    return body


def name(body: Body) -> str:
    """Return an object's name."""
    found: str = body["metadata"]["name"]
    return found


def service(body: Body, suffix: str) -> str:
    """Return the host name of a Service that is called after an object, as pods of any namespace find it."""
    return f"{name(body)}-{suffix}.{body['metadata']['namespace']}"
