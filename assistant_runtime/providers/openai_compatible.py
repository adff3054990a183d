"""The client of one OpenAI-compatible provider, over aiohttp.

aiohttp because this is the hot path: measured beside httpx it takes a seventh of the CPU a request, and does not slow
down as connections grow. Each failure becomes one ProviderError here, at the edge, with a text that never holds the
provider's key: providers quote keys in their own messages.
"""

import asyncio
import io
import os
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import Any, Self

import aiohttp
import orjson

from assistant_runtime.errors import ProviderError
from assistant_runtime.providers.base import Completion, CompletionStream, ModelList, is_whole, read_usage
from assistant_runtime.providers.sse import EventReader, bad_event
from assistant_runtime.settings.providers import ProviderSettings

CONNECT_SECONDS = 5.0
"""A provider that does not accept within this is down: fall back, rather than use up the answer's time."""

MODELS_SECONDS = 5.0
"""Listing models computes nothing, so a provider that needs longer can't be called ready."""

TAIL_SECONDS = 1.0
"""After [DONE] only the end of the response is missing; waiting for it keeps the connection for the next request."""

KEEPALIVE_SECONDS = 4.0
"""Less than the 5 s after which uvicorn (vLLM) and llama.cpp close an idle connection: a request that meets such a
close fails, because a POST is not sent twice."""

SMALL_BODY_BYTES = 512 * 1024
"""Longer bodies are written in pieces, as aiohttp asks for, so that other requests get their turn."""

MAX_ANSWER_BYTES = 16 * 1024 * 1024
"""Far above any answer; bounds what one broken provider can make this process hold."""

MAX_REASON_CHARACTERS = 500
"""Enough of a provider's message to act on."""

NO_MODELS = "has no GET /models (404); check that the base URL ends in its version, such as /v1"

PASSED_ON = frozenset({400, 404, 409, 413, 415, 422})
"""Statuses that are about the client's request: another provider would say the same."""


class OpenAICompatibleProvider:
    """One provider; `async with` opens and closes its connections.

    Parameters
    ----------
    settings
        The provider's name, address, default model, key and timeout in seconds.
    """

    _session: aiohttp.ClientSession

    def __init__(self, settings: ProviderSettings) -> None:
        self.name = settings.name
        self.base_url = settings.base_url
        self.default_model = settings.default_model
        self._chat_url = f"{settings.base_url}/chat/completions"
        self._embeddings_url = f"{settings.base_url}/embeddings"
        self._models_url = f"{settings.base_url}/models"
        self._key = settings.api_key.get_secret_value() if settings.api_key else ""
        self._headers = {"content-type": "application/json", "accept-encoding": "identity"}
        if self._key:
            self._headers["authorization"] = f"Bearer {self._key}"
        self._timeout = aiohttp.ClientTimeout(
            total=None, connect=min(CONNECT_SECONDS, settings.timeout), sock_read=settings.timeout
        )

    async def __aenter__(self) -> Self:
        # Without cookies, which would carry state from one tenant to the next; without a limit on connections,
        # because the requests in flight are the limit, and a queue in the client would hide them.
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=0, keepalive_timeout=KEEPALIVE_SECONDS),
            cookie_jar=aiohttp.DummyCookieJar(),
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    async def complete(self, body: bytes, request_id: str) -> Completion:
        """Answer a chat request at once."""
        answer, payload = await self._whole(self._chat_url, body, request_id)
        return Completion(answer, str(payload.get("model") or ""), read_usage(payload), is_whole(payload))

    async def embeddings(self, body: bytes, request_id: str) -> Completion:
        """Answer an embeddings request."""
        answer, payload = await self._whole(self._embeddings_url, body, request_id)
        return Completion(answer, str(payload.get("model") or ""), read_usage(payload))

    async def _whole(self, url: str, body: bytes, request_id: str) -> tuple[bytes, dict[str, Any]]:
        """Post and give the whole answer, as it came and decoded."""
        async with self._failures_translated():
            response = await self._post(url, body, request_id)
            try:
                answer = await self._read(response)
            finally:
                response.release()
        payload = _json_object(answer)
        if payload is None:
            raise bad_event("an answer that is no JSON object")
        if payload.get("error"):
            # Some providers put a failure of the model behind them into a 200.
            reason = self._own_reason(payload).get("message")
            raise ProviderError(502, f"provider {self.name} failed: {reason}", code="provider_error")
        return answer, payload

    async def stream(self, body: bytes, request_id: str) -> CompletionStream:
        """Answer a chat request as a stream, once its first event is there."""
        async with self._failures_translated():
            response = await self._post(self._chat_url, body, request_id)
        reader = EventReader()
        events = self._events(response, reader)
        try:
            first = await anext(events)
        except StopAsyncIteration:
            raise bad_event("an empty stream") from None
        return CompletionStream(first, events, reader.summary)

    async def models(self) -> ModelList:
        """List the provider's models; empty where it has no such list."""
        timeout = aiohttp.ClientTimeout(total=MODELS_SECONDS)
        async with (
            self._failures_translated(),
            self._session.get(
                self._models_url, headers=self._headers, timeout=timeout, allow_redirects=False
            ) as response,
        ):
            if response.status == 404:  # noqa: PLR2004 - HTTP's number
                return ModelList(remark=NO_MODELS)
            if response.status in {405, 429, 501}:
                return ModelList()
            if response.status >= 300:  # noqa: PLR2004 - HTTP's number
                raise await self._refusal(response)
            payload = _json_object(await self._read(response)) or {}
        models = payload.get("data")
        return ModelList(
            tuple(model for model in models if isinstance(model, dict)) if isinstance(models, list) else ()
        )

    async def _post(self, url: str, body: bytes, request_id: str) -> aiohttp.ClientResponse:
        response = await self._session.post(
            url,
            data=body if len(body) <= SMALL_BODY_BYTES else io.BytesIO(body),
            headers={**self._headers, "x-request-id": request_id},
            timeout=self._timeout,
            allow_redirects=False,
        )
        if response.status != 200:  # noqa: PLR2004 - HTTP's number
            try:
                raise await self._refusal(response)
            finally:
                response.release()
        return response

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        parts: list[bytes] = []
        size = 0
        async for part in response.content.iter_any():
            parts.append(part)
            size += len(part)
            if size > MAX_ANSWER_BYTES:
                response.close()
                raise bad_event(f"an answer longer than {MAX_ANSWER_BYTES} bytes")
        return b"".join(parts)

    async def _events(self, response: aiohttp.ClientResponse, reader: EventReader) -> AsyncGenerator[bytes, None]:
        """Yield whole events, the first time with one that is part of the answer."""
        held = b""
        try:
            async with self._failures_translated():
                async for data in response.content.iter_any():
                    held += reader.feed(data)
                    if reader.started and held:
                        yield held
                    # What came before the answer are comments, which a provider may send for minutes.
                    held = b""
                    if reader.summary.done or reader.problem:
                        break
            held += b"" if reader.problem else reader.finish()
            if reader.started and held:
                yield held
            if reader.problem:
                reader.problem.message = self._without_key(reader.problem.message)
                raise reader.problem
            await _read_tail(response)
        finally:
            # Closes the connection, unless the response was read to its end and gave it back already.
            response.close()

    async def _refusal(self, response: aiohttp.ClientResponse) -> ProviderError:
        """Turn a status other than 200 into what the client may be told."""
        status = response.status
        if status in {401, 403}:
            # The provider's text is left out: it quotes the key.
            return ProviderError(
                502, f"provider {self.name} refused the runtime's key ({status})", code="provider_auth_error"
            )
        error = await self._own_error(response)
        reason = f"provider {self.name} answered {status}: {error.get('message') or 'no reason given'}"
        if status in PASSED_ON:
            code = "model_not_found" if status == 404 else "provider_rejected"  # noqa: PLR2004 - HTTP's number
            return ProviderError(status, reason, code=code, fallback=False, error=error)
        retry_after = response.headers.get("retry-after")
        if status == 429:  # noqa: PLR2004 - HTTP's number
            return ProviderError(429, reason, code="provider_rate_limited", retry_after=retry_after)
        told = {503: 503, 408: 504, 504: 504}.get(status, 502)
        return ProviderError(told, reason, code="provider_error", retry_after=retry_after)

    async def _own_error(self, response: aiohttp.ClientResponse) -> dict[str, Any]:
        """Read the provider's error object, whatever its shape, without the key."""
        with suppress(ProviderError):
            return self._own_reason(_json_object(await self._read(response)) or {})
        return {}

    def _own_reason(self, payload: Mapping[str, Any]) -> dict[str, Any]:
        error = payload.get("error") or payload.get("detail") or payload.get("message") or {}
        error = dict(error) if isinstance(error, dict) else {"message": str(error)}
        error["message"] = self._without_key(str(error.get("message") or ""))[:MAX_REASON_CHARACTERS]
        return error

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "[key]") if self._key else text

    @asynccontextmanager
    async def _failures_translated(self) -> AsyncIterator[None]:
        try:
            yield
        except (TimeoutError, aiohttp.ServerTimeoutError) as error:
            raise ProviderError(504, f"provider {self.name} did not answer in time", code="provider_timeout") from error
        except aiohttp.ClientConnectorError as error:
            reason = f"provider {self.name} can't be reached: {_cause(error)}"
            raise ProviderError(502, reason, code="provider_unreachable") from error
        except (aiohttp.ClientError, ConnectionError) as error:
            raise ProviderError(
                502, f"provider {self.name} broke the connection", code="provider_disconnected"
            ) from error


def _cause(error: aiohttp.ClientConnectorError) -> str:
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return str(error.certificate_error)
    number = error.os_error.errno
    # aiohttp words it with the address; name look-ups have negative numbers and words of their own.
    return os.strerror(number) if number and number > 0 else error.os_error.strerror or "no reason given"


def _json_object(body: bytes) -> dict[str, Any] | None:
    try:
        payload = orjson.loads(body)
    except orjson.JSONDecodeError:
        return None
    return payload if isinstance(payload, dict) else None


async def _read_tail(response: aiohttp.ClientResponse) -> None:
    with suppress(TimeoutError, aiohttp.ClientError):
        async with asyncio.timeout(TAIL_SECONDS):
            async for _ in response.content.iter_any():
                pass
