"""How many processors the runtime takes itself to have, and whether its embedding model runs on them."""

import os
from pathlib import Path

import pytest

from assistant_runtime import processors
from assistant_runtime.rag.embedder import embedder_of
from assistant_runtime.settings import Settings

BOUND = len(os.sched_getaffinity(0))


@pytest.mark.parametrize(
    ("files", "expected"),
    [
        ({}, BOUND),
        ({"cpu.max": "max 100000\n"}, BOUND),
        ({"cpu.max": "100000 100000\n"}, 1),
        ({"cpu.max": "50000 100000\n"}, 1),
        ({"cpu.max": "199000 100000\n"}, 1),
        ({"cpu.max": "6400000 100000\n"}, min(BOUND, 64)),
        ({"cpu/cpu.cfs_quota_us": "-1\n", "cpu/cpu.cfs_period_us": "100000\n"}, BOUND),
        ({"cpu/cpu.cfs_quota_us": "100000\n", "cpu/cpu.cfs_period_us": "100000\n"}, 1),
    ],
)
def test_a_limit_of_the_container_counts(files: dict[str, str], expected: int, tmp_path: Path) -> None:
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    assert processors.usable(tmp_path) == expected


def test_avx2_is_found_among_the_flags_of_an_x86_processor(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.write_text("flags\t\t: fpu sse4_2 avx\n")
    new.write_text("flags\t\t: fpu avx avx2 fma\n")
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert [processors.has_avx2(each) for each in (old, new)] == [False, True]
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert processors.has_avx2(old)


def test_a_processor_without_avx2_embeds_nothing_and_is_told_what_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(processors, "has_avx2", lambda: False)
    monkeypatch.setattr("assistant_runtime.settings.retrieval.has_avx2", lambda: False)
    assert embedder_of(Settings(), None) is None  # type: ignore[arg-type]  # no provider is asked
    with pytest.raises(ValueError, match="EMBEDDING_PROVIDER: the processor has no AVX2"):
        Settings(embedding_provider="local")
