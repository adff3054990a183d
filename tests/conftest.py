"""Options shared by all tests."""

import os

import pytest
from hypothesis import settings

# The programs that tests start have their bytecode, as in the images: to compile takes longer than the rest of a start.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)

# Nothing is timed in a test: on a busy machine any example may take long.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


pytest_plugins = ["tests.support.reporting", "tests.support.scheduling"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write what is rendered now into the golden files")
