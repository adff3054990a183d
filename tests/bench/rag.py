"""`make bench-rag`: how well and how fast documents are found, on Perl's FAQ (see `questions`).

Every answer of the FAQ is sent to a runtime as a document, and every question to its search; what counts is how far up
the right document stands. The runtime is the process that a user starts, with its local embedding model, over real
servers: Milvus 2.3.5, which finds by vectors alone, and Milvus Lite's server, which finds by keywords too. Keywords
alone are asked of Milvus itself, past the runtime, for comparison.
"""

import argparse
import math
import os
import platform
import re
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import httpx
from pymilvus import MilvusClient

from tests.bench import report
from tests.bench.questions import Question, QuestionSet, perl_faq
from tests.bench.report import say
from tests.support.milvus import run_milvus, run_milvus_lite
from tests.support.reranker import RerankerServer, run_reranker
from tests.support.runtime import run_process

PARTS = "8-9"
"""System interaction and networks: a quarter of the FAQ, in a few minutes; 1-9 take four times as long."""

COLLECTION = "bench"
PASSAGES = 25
"""That a search gives: enough for ten documents, of which some are found by several passages."""

RANKS = 10
"""The right document counts among the first ten."""

COLUMNS = ("found by", "recall@1", "recall@5", "MRR@10", "nDCG@10", "a search, p50 / p95 ms")
SECRET = "the same for each runtime of the bench"
ANSWER_SECONDS = 300.0
"""Far more than a search takes on a busy machine."""


@dataclass(frozen=True, slots=True)
class Found:
    """Where one question's document stood, from 1; None: not among the first ten. And how long it took."""

    rank: int | None
    milliseconds: float


@dataclass(frozen=True, slots=True)
class Row:
    """One way of finding."""

    name: str
    found: Sequence[Found]


@dataclass(frozen=True, slots=True)
class Kept:
    """The documents, as a runtime has taken them."""

    passages: int
    milliseconds: Sequence[float]
    """For each document."""


def main() -> None:
    """Run everything, print it, and write it into docs/benchmarks.md."""
    parser = report.parser(__doc__)
    parser.add_argument("--parts", type=_parts, default=PARTS, help=f"parts of the FAQ, as 1-9 (default {PARTS})")
    options = report.parse(parser)
    asked = perl_faq(options.parts)
    with TemporaryDirectory() as folder:
        told = _report(asked, *_measure(asked.questions, Path(folder)))
    report.publish("rag", told, write=not options.no_write)


def _parts(text: str) -> range:
    found = re.fullmatch(r"([1-9])(?:-([1-9]))?", text)
    parts = range(int(found[1]), int(found[2] or found[1]) + 1) if found else range(0)
    if not parts:
        raise argparse.ArgumentTypeError(f"{text!r} is neither a part of the FAQ nor a range of its parts, as 1-9")
    return parts


def _measure(questions: Sequence[Question], folder: Path) -> tuple[Kept, list[Row]]:
    """Let each way of finding answer every question."""
    say(f"{len(questions)} documents and questions, Milvus 2.3.5")
    with run_milvus() as old:
        access = {"MILVUS_URL": old.url, "MILVUS_USERNAME": old.username, "MILVUS_PASSWORD": old.password}
        with _runtime(folder, **access) as client:
            _keep(client, questions)
            dense = Row("vectors alone (Milvus 2.3.5)", _ask(client, questions, "dense"))
    with run_milvus_lite() as lite, run_reranker() as reranker:
        say("the same, Milvus Lite")
        with _runtime(folder, MILVUS_URL=lite.url) as client:
            kept = _keep(client, questions)
            hybrid = Row("hybrid: both, by reciprocal rank (Milvus Lite's server)", _ask(client, questions, "hybrid"))
            names = {each["id"]: each["name"] for each in _documents(client)}
        keywords = Row("keywords alone (BM25, asked of Milvus itself)", _keywords(lite.url, questions, names))
        say("the same, reranked")
        _warm(reranker, lite.url)
        access = {"JINA_RERANKER_URL": reranker.url, "JINA_RERANKER_API_KEY": reranker.key}
        with _runtime(folder, MILVUS_URL=lite.url, JINA_RERANKER_TOOL_ENABLED="true", **access) as client:
            reranked = Row("hybrid, reranked by the stand-in", _ask(client, questions, "hybrid", reranked=True))
    return kept, [keywords, dense, hybrid, reranked]


@contextmanager
def _runtime(folder: Path, **variables: str) -> Iterator[httpx.Client]:
    """Start a runtime; give a client of it."""
    variables |= {
        "MILVUS_COLLECTION": COLLECTION,
        "EMBEDDING_PROVIDER": "local",
        "RATE_LIMIT_ENABLED": "false",
        "SECRET_KEY": SECRET,
    }
    with run_process(folder / "runtime.log", **variables) as runtime:
        runtime.wait_for("/health", 200)
        with httpx.Client(base_url=runtime.url, timeout=ANSWER_SECONDS, trust_env=False) as client:
            _wait_for_milvus(client)
            yield client


def _wait_for_milvus(client: httpx.Client) -> None:
    """Wait until documents can be had; the embedding model and pymilvus are loaded then, as for no later request."""
    deadline = time.monotonic() + ANSWER_SECONDS
    while (answer := client.get("/v1/documents")).status_code == httpx.codes.SERVICE_UNAVAILABLE:
        if time.monotonic() > deadline:
            break
        time.sleep(0.1)
    answer.raise_for_status()


def _keep(client: httpx.Client, questions: Sequence[Question]) -> Kept:
    times = []
    for question in questions:
        begun = time.perf_counter()
        body = {"name": question.name, "text": question.answer}
        client.post("/v1/documents", json=body).raise_for_status()
        times.append((time.perf_counter() - begun) * 1000)
    return Kept(sum(each["passages"] for each in _documents(client)), times)


def _documents(client: httpx.Client) -> Sequence[Any]:
    data: Sequence[Any] = client.get("/v1/documents", params={"limit": 1000}).raise_for_status().json()["data"]
    return data


def _ask(client: httpx.Client, questions: Sequence[Question], retrieval: str, *, reranked: bool = False) -> list[Found]:
    """Search for each question; a search that fell back to something lesser ends the run."""

    def search(text: str) -> list[str]:
        answer = client.post("/v1/search", json={"query": text, "limit": PASSAGES}).raise_for_status().json()
        if (answer["retrieval"], answer["reranked"]) != (retrieval, reranked):
            raise RuntimeError(f"the search was not what is measured: {answer | {'data': '...'}}")
        return [each["document"]["name"] for each in answer["data"]]

    return _each(questions, search)


def _keywords(url: str, questions: Sequence[Question], names: dict[str, str]) -> list[Found]:
    """Ask Milvus for the runtime's passages by their words alone."""
    with _collection(url) as (client, collection):

        def search(text: str) -> list[str]:
            options = {"anns_field": "sparse", "search_params": {"metric_type": "BM25"}, "output_fields": ["document"]}
            (hits,) = client.search(collection, data=[text], limit=PASSAGES, **options)
            return [names[hit["entity"]["document"]] for hit in hits]

        return _each(questions, search)


def _warm(reranker: RerankerServer, url: str) -> None:
    """Let the stand-in compute each passage's vector beforehand: it is slower than a reranker may be."""
    with _collection(url) as (client, collection):
        texts = [row["text"] for row in client.query(collection, filter="position >= 0", output_fields=["text"])]
    headers = {"authorization": f"Bearer {reranker.key}"}
    for text in texts:
        body = {"query": "warm", "documents": [text]}
        httpx.post(f"{reranker.url}/v1/rerank", json=body, headers=headers, timeout=ANSWER_SECONDS, trust_env=False)


@contextmanager
def _collection(url: str) -> Iterator[tuple[MilvusClient, str]]:
    """Give Milvus, and the name of the runtime's collection of passages."""
    client = MilvusClient(url)
    try:
        (collection,) = (each for each in client.list_collections() if "passages" in each)
        yield client, collection
    finally:
        client.close()


def _each(questions: Sequence[Question], search: Callable[[str], list[str]]) -> list[Found]:
    found = []
    for question in questions:
        begun = time.perf_counter()
        passages = search(question.text)
        taken = (time.perf_counter() - begun) * 1000
        documents = list(dict.fromkeys(passages))[:RANKS]
        rank = documents.index(question.name) + 1 if question.name in documents else None
        found.append(Found(rank, taken))
    return found


def _shares(found: Sequence[Found]) -> Sequence[str]:
    """Give what COLUMNS names between the way and the time."""
    return [f"{each:.3f}" for each in (_within(found, 1), _within(found, 5), _reciprocal(found), _gain(found))]


def _within(found: Iterable[Found], rank: int) -> float:
    return statistics.mean(each.rank is not None and each.rank <= rank for each in found)


def _reciprocal(found: Iterable[Found]) -> float:
    return statistics.mean(1 / each.rank if each.rank else 0.0 for each in found)


def _gain(found: Iterable[Found]) -> float:
    """NDCG with one right document: its gain is the logarithm's, and the ideal gain 1."""
    return statistics.mean(1 / math.log2(1 + each.rank) if each.rank else 0.0 for each in found)


def _times(values: Sequence[float]) -> str:
    return f"{statistics.median(values):.0f} / {statistics.quantiles(values, n=20, method='inclusive')[-1]:.0f}"


def _report(asked: QuestionSet, kept: Kept, rows: Iterable[Row]) -> str:
    found = [(row.name, *_shares(row.found), _times([each.milliseconds for each in row.found])) for row in rows]
    count = len(asked.questions)
    costs = {
        "a document kept (read, cut, embedded, written), p50 / p95": f"{_times(kept.milliseconds)} ms",
        "a passage of it, mean": f"{statistics.mean(kept.milliseconds) * count / kept.passages:.0f} ms",
    }
    return (
        f"Measured on {time.strftime('%Y-%m-%d')}: {asked.source}: {count} questions and as many "
        f"documents of {kept.passages} passages; one question is {1 / count:.3f}. {os.cpu_count()} cores shared by "
        f"runtime, servers and other work, Python {platform.python_version()}, one request at a time.\n\n"
        f"{report.table(COLUMNS, found)}\n\n{report.figures(costs)}"
    )


if __name__ == "__main__":
    main()
