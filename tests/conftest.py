"""Options shared by all tests."""

import pytest

pytest_plugins = ["tests.support.reporting"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--update-golden", action="store_true", help="write what is rendered now into the golden files")
