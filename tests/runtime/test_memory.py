"""What memory is left, and that readers of files never take more of it together."""

import asyncio
from pathlib import Path

import pytest

from assistant_runtime.errors import ApiError
from assistant_runtime.memory import RESERVE_BYTES, MemoryShares, NoMemoryError, left
from assistant_runtime.rag.extraction import LEAST_MEMORY_BYTES, MOST_MEMORY_BYTES, Extraction, memory_for
from tests.support.runtime import eventually

MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, 1024),
        ({"memory.max": "max", "memory.current": "100"}, 1024),
        ({"memory.max": "500", "memory.current": "300", "memory.stat": "anon 100\ninactive_file 50\n"}, 250),
        ({"memory.max": "9000", "memory.current": "300"}, 1024),
        (
            {
                "memory/memory.limit_in_bytes": "500",
                "memory/memory.usage_in_bytes": "300",
                "memory/memory.stat": "inactive_file 7\ntotal_inactive_file 50\n",
            },
            250,
        ),
        ({"memory/memory.limit_in_bytes": str(2**63 - 4096), "memory/memory.usage_in_bytes": "300"}, 1024),
    ],
)
def test_what_the_container_or_the_machine_leaves_counts(files: dict[str, str], expected: int, tmp_path: Path) -> None:
    meminfo = tmp_path / "meminfo"
    meminfo.write_text("MemTotal: 2 kB\nMemAvailable: 1 kB\n")
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    assert left(tmp_path, meminfo) == expected


def test_elsewhere_than_on_linux_nobody_knows(tmp_path: Path) -> None:
    assert left(tmp_path, tmp_path / "none") is None


async def test_together_shares_are_never_more_than_is_left() -> None:
    shares = MemoryShares(lambda: RESERVE_BYTES + 100)
    async with shares.share(60, 10) as first:
        assert first == 60
        async with shares.share(40, 10) as second:
            assert second == 40
        waiting = asyncio.create_task(held(shares, 50))
        await asyncio.sleep(0)
        assert not waiting.done()
    assert await waiting == 50


async def held(shares: MemoryShares, wanted: int) -> int:
    async with shares.share(wanted, 10) as share:
        return share


async def test_alone_a_reader_gets_what_there_is_or_is_refused() -> None:
    assert await held(MemoryShares(lambda: RESERVE_BYTES + 30), 100) == 30
    assert await held(MemoryShares(lambda: None), 100) == 100
    with pytest.raises(NoMemoryError):
        await held(MemoryShares(lambda: RESERVE_BYTES + 9), 100)


async def test_a_share_that_was_waited_for_in_vain_is_given_back() -> None:
    shares = MemoryShares(lambda: RESERVE_BYTES + 100)
    async with shares.share(60, 10):
        leaving = asyncio.create_task(held(shares, 60))
        await asyncio.sleep(0)
        leaving.cancel()
        await asyncio.gather(leaving, return_exceptions=True)
    assert await held(shares, 100) == 100


def test_memory_for_a_file_grows_with_its_size_up_to_a_bound() -> None:
    assert memory_for("html", 1000) < LEAST_MEMORY_BYTES + MIB
    assert memory_for("html", 32 * MIB) == memory_for("pdf", 1000) == MOST_MEMORY_BYTES


HOSTILE = b"<p a=1 b=2>x" * 350_000


async def test_a_hostile_page_is_refused_where_the_pod_has_little_left_and_the_next_file_is_read() -> None:
    extraction = Extraction(1000, 100, MemoryShares(lambda: RESERVE_BYTES + 128 * MIB))
    with pytest.raises(ApiError, match="memory") as refused:
        await extraction.read(HOSTILE, "text/html")
    assert refused.value.status == 422
    assert (await extraction.read(b"<p>harmless", "text/html")).text == "harmless"


async def test_without_memory_a_document_is_to_be_sent_again_later() -> None:
    with pytest.raises(ApiError) as refused:
        await Extraction(1000, 100, MemoryShares(lambda: RESERVE_BYTES)).read(b"text", "text/plain")
    assert (refused.value.status, refused.value.error["code"]) == (503, "documents_busy")


async def test_many_hostile_pages_at_once_stay_within_what_is_left() -> None:
    """Each process is bounded by its share, and the shares by what is left."""
    limit = 256 * MIB
    granted: list[int] = []
    shares = MemoryShares(lambda: RESERVE_BYTES + limit)

    async def read() -> None:
        async with shares.share(memory_for("html", 2 * MIB), LEAST_MEMORY_BYTES) as share:
            granted.append(share)
            assert sum(granted) <= limit
            await asyncio.sleep(0)
            granted.remove(share)

    await asyncio.gather(*(read() for _ in range(4)))
    await eventually(lambda: not granted)
