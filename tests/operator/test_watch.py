"""No object and no answer ends a watch: what can't be read is left out and counted, and what follows is seen."""

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from assistant_operator import conditions, kinds
from assistant_operator.cluster import decoding, watch
from assistant_operator.cluster.cache import Cache, Ref, trim_assistant
from assistant_operator.cluster.decoding import DEEPEST, decode, encode
from assistant_operator.cluster.watch import Listener, Target, Watch
from assistant_operator.errors import StalledError
from assistant_operator.rooms.manifests import Object
from assistant_operator.spec.parsing import parse
from tests.operator.assistants import resource
from tests.operator.scripted import HEAD, Scripted, event, held, listed, refused, serving, streamed


def _nested(levels: int) -> bytes:
    return b'{"a":' * levels + b"1" + b"}" * levels


def _assistant(name: str, version: int, **spec: Any) -> Object:
    body = resource(name, **spec)
    body["metadata"]["resourceVersion"] = str(version)
    return body


def _deep(name: str, version: int, levels: int) -> bytes:
    """Return an AIAssistant whose podTemplate nests so deep, as the API server stores and sends it."""
    written = orjson.dumps(_assistant(name, version, podTemplate={"deep": "HERE"}))
    return written.replace(b'"HERE"', _nested(levels))


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a watch try again at once."""
    monkeypatch.setattr(watch, "_BACKOFF_SECONDS", (0.0,))
    monkeypatch.setattr(watch, "_EARLY_SECONDS", 0.0)


class _Seen:
    """What a watch has shown, and how much of it could not be read."""

    def __init__(self) -> None:
        self.cache = Cache(trim_assistant)
        self.unreadable: Counter[str] = Counter()
        self.changed = asyncio.Event()

    def names(self) -> set[str]:
        return {found.name for found in self.cache._entries}

    def get(self, name: str) -> Object | None:
        return self.cache.get(kinds.ASSISTANT.kind, "default", name)


@asynccontextmanager
async def _watching(script: Scripted, on_object: Callable[[Ref, bool], None] = lambda *_: None) -> AsyncIterator[_Seen]:
    seen = _Seen()

    def see(found: Ref, news: bool) -> None:
        on_object(found, news)
        seen.changed.set()

    listener = Listener(
        on_object=see,
        on_answer=seen.changed.set,
        on_unreadable=lambda kind: seen.unreadable.update([kind]),
    )
    async with serving(script) as api:
        found = Watch(api, seen.cache, Target(kinds.ASSISTANT, None, selector=None), listener)
        task = asyncio.create_task(found.run())
        try:
            yield seen
            assert not task.done(), "nothing ends a watch"
        finally:
            task.cancel()
            with suppress(asyncio.CancelledError):
                await task


async def _until(seen: _Seen, *names: str) -> None:
    async with asyncio.timeout(30):
        while seen.names() != set(names):
            await seen.changed.wait()
            seen.changed.clear()


@pytest.mark.parametrize("levels", [33, 260, 900, 1200, 9000])
async def test_an_overlay_that_nests_too_deep_stalls_its_own_assistant_by_name_of_the_field(levels: int) -> None:
    script = Scripted(
        [listed(_deep("deep", 1, levels), _assistant("well", 2))],
        [streamed(event("ADDED", _deep("late", 11, levels)), event("ADDED", _assistant("later", 12)))],
    )
    async with _watching(script) as seen:
        await _until(seen, "deep", "well", "late", "later")
        for name in ("deep", "late"):
            body = seen.get(name)
            assert body
            with pytest.raises(StalledError, match=r"^spec\.podTemplate: nests deeper than 32 levels") as raised:
                parse(body)
            assert raised.value.reason == conditions.INVALID_SPEC
        assert not seen.unreadable


async def test_a_line_of_eight_mebibytes_is_read() -> None:
    huge = _assistant("huge", 11)
    huge["metadata"]["annotations"] = {"a": "x" * 8 * 1024**2}
    script = Scripted([listed()], [streamed(event("ADDED", huge), event("ADDED", _assistant("next", 12)))])
    async with _watching(script) as seen:
        await _until(seen, "huge", "next")


async def test_a_line_without_an_end_is_no_event_and_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("assistant_operator.cluster.client.LARGEST_EVENT", 100_000)
    script = Scripted([listed(), listed(_assistant("next", 12))], [streamed(b"x" * 1_000_000), streamed()])
    async with _watching(script) as seen:
        await _until(seen, "next")
        assert seen.unreadable == {"aiassistants": 1}


NAMED = {"name": "a", "namespace": "b", "uid": "u"}
UNREADABLE: dict[str, bytes] = {
    "no version": event("ADDED", {"metadata": NAMED}),
    "a bookmark of no version": event("BOOKMARK", {"metadata": {}}),
    "a bookmark of nothing": event("BOOKMARK", {}),
    "a version that is no number": event(
        "ADDED", {"metadata": {"name": "a", "namespace": "b", "uid": "u", "resourceVersion": "x"}}
    ),
    "no object": b'{"type":"ADDED"}\n',
    "null": b"null\n",
    "a list": b"[]\n",
    "no JSON": b"<html>\n",
    "an empty object": b"{}\n",
    "no UTF-8": b"\xff\xfe\n",
    "labels of another form": event("ADDED", {"metadata": {**_assistant("a", 5)["metadata"], "labels": ["a"]}}),
    "an error of no form": event("ERROR", {"code": "x", "details": 5}),
    "cut short": event("ADDED", _assistant("a", 11))[:40],
}


@pytest.mark.parametrize("line", UNREADABLE.values(), ids=UNREADABLE)
async def test_an_event_that_can_t_be_read_is_followed_by_what_is_true(line: bytes) -> None:
    script = Scripted([listed(_assistant("one", 1)), listed(_assistant("two", 20), version="20")], [streamed(line)])
    async with _watching(script) as seen:
        await _until(seen, "two")


@pytest.mark.parametrize("answer", [b"{}", b"[]", b"null", b'{"items":5}', b'{"metadata":{}}', b"\xff", b"", b'"x"'])
async def test_an_answer_to_a_list_that_is_none_is_asked_for_again(answer: bytes) -> None:
    script = Scripted([HEAD % 200 + answer, listed(_assistant("one", 1))], [streamed()])
    async with _watching(script) as seen:
        await _until(seen, "one")


async def test_an_item_that_can_t_be_read_is_left_out_and_counted() -> None:
    script = Scripted([listed(b"5", b"{}", b'{"metadata":5}', _assistant("one", 1))], [streamed()])
    async with _watching(script) as seen:
        await _until(seen, "one")
        assert seen.unreadable == {"aiassistants": 3}


async def test_a_defect_met_by_a_listener_ends_no_watch(monkeypatch: pytest.MonkeyPatch) -> None:
    failures = iter([RuntimeError("a defect"), RecursionError()])

    def put(self: Cache, kind: str, body: Object, original: Any = Cache.put) -> bool:
        for failure in failures:
            raise failure
        return bool(original(self, kind, body))

    monkeypatch.setattr(Cache, "put", put)
    script = Scripted([listed(_assistant("one", 1))], [streamed(event("ADDED", _assistant("two", 11)))])
    async with _watching(script) as seen:
        await _until(seen, "one", "two")


CHANGED, GONE = _assistant("changed", 20), _assistant("gone", 21)
NEWS = (event("MODIFIED", CHANGED), event("DELETED", GONE), event("BOOKMARK", {"metadata": {"resourceVersion": "30"}}))
FAULTS: dict[str, list[bytes]] = {
    "cut": [streamed()],
    "cut within an event": [streamed(NEWS[0][:60])],
    "cut again and again": [streamed()] * 5,
    "silent": [held(streamed())],
    "silent after an event": [held(streamed(NEWS[0]))],
    "silent within an event": [held(streamed(NEWS[0][:60]))],
    "garbage": [streamed(b"\x00\xff<html>\n")],
    "410": [refused(410, "Expired")],
    "410 as an event": [streamed(event("ERROR", {"code": 410, "reason": "Expired", "message": "too old"}))],
    "429": [refused(429, "TooManyRequests")],
    "500": [refused(500, "InternalError")],
    "500 again and again": [refused(500, "InternalError")] * 5,
    "500 as an event": [streamed(event("ERROR", {"code": 500, "reason": "InternalError", "message": "etcd"}))],
    "504, a version from the future": [refused(504, "Timeout")],
    "401, an expired token": [refused(401, "Unauthorized")] * 2,
    "403": [refused(403, "Forbidden")],
    "404, a definition that is deleted": [refused(404, "NotFound")],
    "an answer of a proxy": [HEAD % 502 + b"<html>Bad Gateway</html>"],
    "events that come twice": [streamed(NEWS[0], NEWS[0], NEWS[1], NEWS[1])],
    "events that come late": [streamed(NEWS[1], event("MODIFIED", _assistant("changed", 15)), NEWS[0])],
    "versions that go back": [streamed(event("BOOKMARK", {"metadata": {"resourceVersion": "3"}}))],
}


@pytest.mark.parametrize("fault", FAULTS.values(), ids=FAULTS)
async def test_after_every_fault_what_changed_is_seen_and_what_is_gone_is_forgotten(
    fault: list[bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watch, "_WATCH_SECONDS", (0, 0))
    monkeypatch.setattr("assistant_operator.cluster.client.WATCH_SILENCE_SECONDS", 0.3)
    before = listed(_assistant("changed", 9), _assistant("gone", 9))
    script = Scripted([before, listed(CHANGED, version="30")], [*fault, held(streamed(*NEWS))])
    async with _watching(script) as seen:
        await _until(seen, "changed")
        async with asyncio.timeout(30):
            while (seen.get("changed") or {})["metadata"]["resourceVersion"] != "20":
                await seen.changed.wait()
                seen.changed.clear()


@pytest.mark.parametrize("status", [401, 403, 404, 410, 429, 500, 503])
async def test_a_list_that_is_refused_is_asked_for_until_it_is_given(status: int) -> None:
    script = Scripted([*[refused(status)] * 4, listed(_assistant("one", 1))], [held(streamed())])
    async with _watching(script) as seen:
        await _until(seen, "one")


async def test_an_event_that_comes_twice_wakes_nobody_again() -> None:
    news: list[str] = []
    lines = (NEWS[0], NEWS[0], NEWS[1], NEWS[1])
    script = Scripted([listed(_assistant("gone", 9))], [held(streamed(*lines))])
    async with _watching(script, lambda found, is_news: news.extend([found.name] if is_news else [])) as seen:
        await _until(seen, "changed")
        async with asyncio.timeout(30):
            while len(news) < 3:
                await seen.changed.wait()
                seen.changed.clear()
        assert news == ["gone", "changed", "gone"]


BYTES = st.binary(max_size=200) | st.sampled_from(sorted(UNREADABLE.values()))
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["metadata", "name", "namespace", "uid", "resourceVersion", "labels", "code"]), inner
        )
    ),
    max_leaves=8,
)
EVENTS = st.builds(
    lambda kind, body: event(kind, json_of(body)),
    st.sampled_from(["ADDED", "MODIFIED", "DELETED", "BOOKMARK", "ERROR", "", "X"]),
    VALUES,
)


def json_of(value: object) -> bytes:
    return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS) if not _huge(value) else b"0"


def _huge(value: object) -> bool:
    """Tell whether a number is beyond what orjson writes."""
    if isinstance(value, dict):
        return any(map(_huge, value.values()))
    if isinstance(value, list):
        return any(map(_huge, value))
    return isinstance(value, int) and abs(value) >= 2**63


@given(st.lists(BYTES | EVENTS, max_size=4), st.lists(VALUES.map(json_of), max_size=3))
@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_bytes_come_the_watch_goes_on_to_what_is_true(lines: list[bytes], items: list[bytes]) -> None:
    async def watched() -> None:
        true = [listed(_assistant("true", 10**6), version="1000000")]
        script = Scripted([listed(*items), *true], [streamed(*lines), refused(410, "Expired"), streamed()])
        async with _watching(script) as seen:
            await _until(seen, "true")

    asyncio.run(watched())


@given(st.integers(1, 3000), st.sampled_from([b"[", b'{"a":']))
def test_what_is_too_deep_is_cut_and_all_beside_it_stays(levels: int, opening: bytes) -> None:
    closing = {b"[": b"]", b'{"a":': b"}"}[opening]
    raw = b'{"before":"]}","deep":' + opening * levels + b"1" + closing * levels + b',"after":"\\"[{"}'
    found = decode(raw)
    assert (found["before"], found["after"]) == ("]}", '"[{')
    assert orjson.loads(encode(found))["after"] == '"[{'


@given(VALUES)
def test_what_is_no_deeper_than_the_limit_is_read_and_written_whole(value: object) -> None:
    raw = json_of(value)
    assert decode(raw) == orjson.loads(raw)
    assert orjson.loads(encode(orjson.loads(raw))) == orjson.loads(raw)
    assert decoding._cut(raw) == raw


def test_an_overlay_that_is_too_large_is_refused_by_name_of_the_field() -> None:
    with pytest.raises(StalledError, match=r"^spec\.milvus\.managed\.config: has \d+ KiB, and may have 64"):
        parse(resource(milvus={"managed": {"config": {"a": "x" * 70_000}}}))


def test_the_deepest_overlay_that_is_taken_is_below_what_is_read() -> None:
    def levels(count: int) -> Iterator[Object]:
        overlay: Object = {}
        for _ in range(count):
            overlay = {"a": overlay}
        yield overlay

    for overlay in levels(32):
        assert parse(resource(podTemplate=overlay)).spec.pod_template == overlay
    assert DEEPEST > 40
