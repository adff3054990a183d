"""Scripts that run in the servers' pods; each says at its top what it is for. They are files so that tests run them."""

from importlib import resources


def read(name: str) -> str:
    """Return the text of a script."""
    return resources.files(__name__).joinpath(name).read_text()
