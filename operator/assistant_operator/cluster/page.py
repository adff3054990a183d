"""What a list gives."""

from dataclasses import dataclass

from assistant_operator.rooms.manifests import Object


@dataclass(frozen=True)
class Page:
    """A whole list: its objects and the resource version to watch from."""

    items: list[Object]
    resource_version: str
