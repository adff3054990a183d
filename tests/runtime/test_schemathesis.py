"""Every route of the OpenAPI document, asked with what schemathesis makes up: nothing ends in a 5xx of our own.

In this process, by ASGI, with the provider of the tests behind it.
"""

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import schemathesis

from assistant_runtime.app import create_app
from assistant_runtime.settings import Settings
from tests.support.upstream import MODEL, Upstream, run_upstream

EXAMPLES = 12
"""Of each route: enough for every field to be wrong once; the whole stays under a minute."""

ADMIN = "admin-0123456789"
"""A key that opens everything, and a database below: the routes of keys and users are among those that are asked."""

REASONED = {501, 502, 503, 504}
"""Statuses above 500 that an answer may have with a reason: a server that is not there or not configured."""


class ProviderThread:
    """The tests' provider in a loop of its own, because schemathesis runs the application in another."""

    def __enter__(self) -> Upstream:
        started = threading.Event()
        self._loop = asyncio.new_event_loop()

        async def serve() -> None:
            async with run_upstream() as self.upstream:
                self._stop = asyncio.Event()
                started.set()
                await self._stop.wait()

        self._thread = threading.Thread(target=self._loop.run_until_complete, args=[serve()])
        self._thread.start()
        started.wait()
        return self.upstream

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join()
        self._loop.close()


@pytest.fixture
def schema(tmp_path: Path) -> Iterator[Any]:
    with ProviderThread() as upstream:
        settings = Settings.load(
            openai_compatible_base_url=upstream.url,
            openai_compatible_default_model=MODEL,
            rate_limit_enabled=False,
            api_keys=ADMIN,
            secret_key="s" * 32,
            data_dir=str(tmp_path),
            multi_writer_enabled=True,
            fetch_tool_enabled=True,
            max_tools_per_query=1,
        )
        yield schemathesis.openapi.from_asgi("/openapi.json", create_app(settings))


def test_no_request_ends_in_an_error_of_our_own(schema: Any) -> None:
    asked = 0
    for found in schema.get_all_operations():
        operation = found.ok()

        @hypothesis.settings(
            max_examples=EXAMPLES, derandomize=True, suppress_health_check=list(hypothesis.HealthCheck)
        )
        @hypothesis.given(case=operation.as_strategy())
        def ask(case: schemathesis.Case[Any]) -> None:
            response = case.call(headers={"authorization": f"Bearer {ADMIN}"})
            assert response.status_code < 500 or response.status_code in REASONED, (case.path, response.content)
            if response.status_code >= 400 and case.path != "/ready":
                assert set(response.json()["error"]) >= {"message", "type", "param", "code"}, case.path

        ask()
        asked += 1
    assert asked > 30
