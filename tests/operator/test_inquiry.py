"""Events are asked for while something is wrong, and not too often."""

import pytest

from assistant_operator.cluster.client import ApiError
from assistant_operator.cluster.inquiry import Inquiry
from tests.operator.recording import RecordingClient


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr("assistant_operator.cluster.inquiry.time.monotonic", lambda: self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


async def test_an_answer_is_kept_for_a_while(clock: Clock) -> None:
    client = RecordingClient()
    asking = Inquiry(client)
    client.told["pod"] = [{"reason": "Unhealthy"}]
    for now, asked in ((0, 1), (1, 1), (6, 2), (400, 3), (410, 3), (470, 4)):
        clock.now = now
        assert await asking.events("default", ["pod"]) == {"pod": [{"reason": "Unhealthy"}]}
        assert len(client.calls) == asked


async def test_without_an_answer_the_last_one_stands(clock: Clock) -> None:
    client = RecordingClient()
    asking = Inquiry(client)
    client.told["pod"] = [{"reason": "Unhealthy"}]
    await asking.events("default", ["pod"])
    client.refuse(ApiError(403, "Forbidden", "no events here"))
    clock.now = 10
    assert await asking.events("default", ["pod"]) == {"pod": [{"reason": "Unhealthy"}]}
