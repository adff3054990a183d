"""The client of one OpenAI-compatible provider.

Each failure becomes one ProviderError here, at the edge, with a text that never holds the provider's key: providers
quote keys in their own messages.
"""

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from typing import Any, Self
from urllib.parse import quote, urlsplit

from assistant_runtime import json_text
from assistant_runtime.errors import ProviderError
from assistant_runtime.providers.base import Completion, CompletionStream, ModelList
from assistant_runtime.providers.connection import BadResponseError, Connection, DisconnectedError
from assistant_runtime.providers.dialect.assembling import Assembled
from assistant_runtime.providers.dialect.errors import failed
from assistant_runtime.providers.dialect.model_lists import models_in
from assistant_runtime.providers.dialect.reading import is_empty, is_readable, is_whole, read_usage
from assistant_runtime.providers.dialect.verdict import Verdicts
from assistant_runtime.providers.pool import ConnectFailedError, ConnectionPool
from assistant_runtime.providers.sse import EventReader, bad_event, chunks_of
from assistant_runtime.settings.providers import ProviderSettings
from assistant_runtime.trust import distrust

CONNECT_SECONDS = 5.0
"""A provider that does not accept within this is down: fall back, rather than use up the answer's time."""

MODELS_SECONDS = 5.0
"""Listing models computes nothing, so a provider that needs longer can't be called ready."""

TAIL_SECONDS = 1.0
"""After [DONE] only the end of the response is missing; waiting for it keeps the connection for the next request."""

KEEPALIVE_SECONDS = 4.0
"""Less than the 5 s after which uvicorn (vLLM) and llama.cpp close an idle connection: a request that meets such a
close fails, because a POST is not sent twice."""

NO_SUCH_PATH = frozenset({404, 405, 501})
"""How servers answer for an endpoint that they do not have."""

MAX_ANSWER_BYTES = 16 * 1024 * 1024
"""Far above any answer; bounds what one broken provider can make this process hold."""

NO_MODELS = "has no GET /models (404); check that the base URL ends in its version, such as /v1"

FAILURES = (TimeoutError, ConnectFailedError, DisconnectedError, BadResponseError)
"""What the connection raises."""

CA_SETTING = "OPENAI_COMPATIBLE_CA_FILE (ca_file in PROVIDERS)"
"""What names the certificates to trust, for the first provider and for the others."""

USER_AGENT = "ai-assistant-runtime"
"""Some providers' front doors refuse requests without one."""


class OpenAICompatibleProvider:
    """One provider; `async with` opens and closes its connections.

    Parameters
    ----------
    settings
        The provider's name, address, default model, key and timeout in seconds.
    """

    def __init__(self, settings: ProviderSettings) -> None:
        self.name = settings.name
        self.base_url = settings.base_url
        self.default_model = settings.default_model
        self.weight, self.retries, self.any_model = settings.weight, settings.retries, settings.any_model
        self._key = settings.api_key.get_secret_value() if settings.api_key else ""
        self._chat = self._head("POST", "/chat/completions")
        self._texts = self._head("POST", "/completions")
        self._embeddings = self._head("POST", "/embeddings")
        self._models = self._head("GET", "/models") + b"\r\n"
        self._timeout = settings.timeout
        self._verdicts = Verdicts(self.name, self._without_key)
        self._pool = ConnectionPool(settings.base_url, keepalive=KEEPALIVE_SECONDS, ca_file=settings.ca_file)

    def _head(self, method: str, path: str) -> bytes:
        """Give what the heads of all requests to one endpoint begin with."""
        url = urlsplit(self.base_url)
        lines = [
            f"{method} {quote(url.path, safe='/%:@!$&*+,;=~')}{path} HTTP/1.1",
            f"host: {url.netloc}",
            f"user-agent: {USER_AGENT}",
            "accept-encoding: identity",
            *(["content-type: application/json"] if method == "POST" else []),
            *([f"authorization: Bearer {self._key}"] if self._key else []),
        ]
        return "".join(f"{line}\r\n" for line in lines).encode()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        self._pool.close()

    async def complete(self, body: bytes, request_id: str, *, text: bool = False) -> Completion:
        """Answer a chat request at once, or complete a text."""
        answer, payload = await self._whole(self._texts if text else self._chat, body, request_id)
        if not is_readable(payload, "message"):
            raise bad_event("something else than an answer")
        if is_empty(payload):
            raise self._nothing_said(payload)
        return Completion(answer, str(payload.get("model") or ""), read_usage(payload), is_whole(payload))

    async def embeddings(self, body: bytes, request_id: str) -> Completion:
        """Answer an embeddings request."""
        answer, payload = await self._whole(self._embeddings, body, request_id)
        return Completion(answer, str(payload.get("model") or ""), read_usage(payload))

    async def _whole(self, head: bytes, body: bytes, request_id: str) -> tuple[bytes, dict[str, Any]]:
        """Post and give the whole answer, as it came and decoded."""
        connection = await self._post(head, body, request_id, whole=True)
        answer = connection.body()
        self._pool.release(connection)
        if answer.lstrip().startswith((b"data:", b":", b"event:")):
            answer = self._assembled(answer)
        payload = _json_object(answer)
        if payload is None:
            raise bad_event("an answer that is no JSON object")
        if payload.get("error") or (not payload.get("data") and failed(payload)):
            # Some providers put a failure of the model behind them into a 200.
            raise self._verdicts.of_answer(payload)
        return answer, payload

    async def stream(self, body: bytes, request_id: str, *, hide_usage: bool, text: bool = False) -> CompletionStream:
        """Answer a chat request, or complete a text, as a stream, once its first event is there."""
        connection = await self._post(self._texts if text else self._chat, body, request_id, whole=False)
        reader = EventReader(hide_usage=hide_usage, verdict=self._stream_failure)
        events = self._events(connection, reader)
        try:
            first = await anext(events)
        except StopAsyncIteration:
            raise bad_event("an empty stream") from None
        return CompletionStream(first, events, reader.summary)

    async def models(self) -> ModelList:
        """List the provider's models; empty where it has no such list."""
        try:
            async with asyncio.timeout(MODELS_SECONDS):
                connection = await self._request(self._models, whole=True)
        except TimeoutError as error:
            raise self._translated(error) from error
        status, answer = connection.status, connection.body()
        self._pool.release(connection)
        if status == 404:  # noqa: PLR2004 - HTTP's number
            return ModelList(remark=NO_MODELS)
        if status in {405, 429, 501}:
            return ModelList()
        if status >= 300:  # noqa: PLR2004 - HTTP's number
            raise self._verdicts.of_status(status, answer, None)
        return ModelList(models_in(answer))

    async def _post(self, head: bytes, body: bytes, request_id: str, *, whole: bool) -> Connection:
        """Send a request; gives the connection with a 200."""
        rest = f"x-request-id: {request_id}\r\ncontent-length: {len(body)}\r\n\r\n"
        connection = await self._request(b"".join((head, rest.encode("latin-1"), body)), whole=whole)
        if connection.status == 200:  # noqa: PLR2004 - HTTP's number
            return connection
        answer = b""
        try:
            answer = connection.body() if whole else await _read_all(connection)
        finally:
            self._pool.release(connection)
        retry_after = connection.headers.get(b"retry-after", b"").decode("latin-1") or None
        error = self._verdicts.of_status(connection.status, answer, retry_after)
        raise self._without_texts(error) if head is self._texts else error

    async def _request(self, request: bytes, *, whole: bool) -> Connection:
        try:
            return await self._pool.request(
                request,
                whole=whole,
                patience=self._timeout,
                connect_seconds=min(CONNECT_SECONDS, self._timeout),
                max_bytes=MAX_ANSWER_BYTES,
            )
        except FAILURES as error:
            raise self._translated(error) from error

    async def _events(self, connection: Connection, reader: EventReader) -> AsyncGenerator[bytes, None]:
        """Yield whole events, the first time with one that is part of the answer."""
        held = b""
        try:
            while data := await self._read(connection):
                held += reader.feed(data)
                if reader.started and held:
                    yield held
                    held = b""
                if reader.summary.done or reader.problem:
                    break
            held += b"" if reader.problem else reader.finish()
            if reader.started and held:
                yield held
            if reader.problem:
                raise reader.problem
            await _read_tail(connection)
        finally:
            # Closes the connection, unless the answer was read to its end.
            self._pool.release(connection)

    async def _read(self, connection: Connection) -> bytes:
        try:
            return await connection.read()
        except FAILURES as error:
            raise self._translated(error) from error

    def _without_texts(self, error: ProviderError) -> ProviderError:
        """Give the error for a text that was to be completed, where the provider completes none."""
        named = error.error or {}
        about_model = named.get("code") == "model_not_found" or "model" in str(named.get("message")).lower()
        if error.provider_status not in NO_SUCH_PATH or about_model:
            return error
        return ProviderError(
            501,
            f"provider {self.name} completes no texts (it answered {error.provider_status} to /completions): "
            "ask by /v1/chat/completions",
            code="completions_not_offered",
            at_fault=False,
        )

    def _assembled(self, events: bytes) -> bytes:
        """Make a whole answer of a stream that nobody asked for; raises ProviderError if it is none."""
        reader, assembled = EventReader(verdict=self._stream_failure), Assembled()
        whole = reader.feed(events) + (b"" if reader.problem else reader.finish())
        if reader.problem:
            raise reader.problem
        for chunk in chunks_of(whole):
            assembled.add(chunk)
        return json_text.dumps(assembled.whole())

    def _nothing_said(self, payload: dict[str, Any]) -> ProviderError:
        """Give the error for an answer without a choice, or with one that failed."""
        broken = next((choice for choice in payload.get("choices") or () if choice.get("error")), None)
        return self._verdicts.of_answer(broken) if broken else bad_event("something else than an answer")

    def _stream_failure(self, payload: Any) -> ProviderError:
        return self._verdicts.of_answer(payload, "provider_stream_error")

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "[key]") if self._key else text

    def _translated(self, error: Exception) -> ProviderError:
        """Turn what the connection raised into what the client may be told."""
        if isinstance(error, TimeoutError):
            return ProviderError(504, f"provider {self.name} did not answer in time", code="provider_timeout")
        if isinstance(error, ConnectFailedError):
            reason = distrust(error.__cause__ or error, CA_SETTING) or f"can't be reached: {error}"
            return ProviderError(502, f"provider {self.name} {reason}", code="provider_unreachable")
        if isinstance(error, BadResponseError):
            return bad_event(str(error))
        return ProviderError(502, f"provider {self.name} broke the connection", code="provider_disconnected")


def _json_object(body: bytes) -> dict[str, Any] | None:
    try:
        payload = json_text.loads_bounded(body)
    except ValueError:
        return None
    return payload if isinstance(payload, dict) else None


async def _read_all(connection: Connection) -> bytes:
    """Read an answer that is not a stream after all, as far as it can be of use."""
    body = b""
    with suppress(*FAILURES):
        while (part := await connection.read()) and len(body) < MAX_ANSWER_BYTES:
            body += part
    return body


async def _read_tail(connection: Connection) -> None:
    with suppress(*FAILURES):
        async with asyncio.timeout(TAIL_SECONDS):
            while await connection.read():
                pass
