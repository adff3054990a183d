"""The server's end of a connection: what is written goes out in few pieces, and in order."""

import asyncio
from typing import Any

import pytest

from assistant_runtime.api.protocol import MAX_GATHERED_BYTES, GatheringTransport


class Recorder(asyncio.Transport):
    """Stands below a gathering transport, and notes what reaches it."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Any] = []
        self.closed = False

    def write(self, data: Any) -> None:
        self.calls.append(bytes(data))

    def close(self) -> None:
        self.calls.append("close")
        self.closed = True

    def abort(self) -> None:
        self.calls.append("abort")
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self.calls.append("pause")

    def resume_reading(self) -> None:
        self.calls.append("resume")


@pytest.fixture
async def below() -> Recorder:
    return Recorder()


@pytest.fixture
async def transport(below: Recorder) -> GatheringTransport:
    return GatheringTransport(below, asyncio.get_running_loop())


async def test_what_is_written_in_one_turn_goes_out_together(below: Recorder, transport: GatheringTransport) -> None:
    transport.write(b"head ")
    transport.write(b"body")
    assert below.calls == []
    await asyncio.sleep(0)
    transport.write(b"next")
    await asyncio.sleep(0)
    assert below.calls == [b"head body", b"next"]


async def test_much_does_not_wait(below: Recorder, transport: GatheringTransport) -> None:
    transport.write(b"head")
    transport.write(b"x" * MAX_GATHERED_BYTES)
    assert below.calls == [b"head" + b"x" * MAX_GATHERED_BYTES], "the transport's own bound must see it"
    await asyncio.sleep(0)
    assert len(below.calls) == 1


async def test_an_end_comes_after_everything_and_an_abort_at_once(below: Recorder) -> None:
    loop = asyncio.get_running_loop()
    ending = GatheringTransport(below, loop)
    ending.write(b"last words")
    ending.close()
    await asyncio.sleep(0)
    assert below.calls == [b"last words", "close"]
    broken = Recorder()
    breaking = GatheringTransport(broken, loop)
    breaking.write(b"half an answer")
    breaking.abort()
    await asyncio.sleep(0)
    assert broken.calls == ["abort"]
