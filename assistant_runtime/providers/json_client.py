"""A small client of a JSON API behind a provider or a tool, such as a reranker or a search engine.

For servers that the settings name: they are trusted as far as the settings go, so that this client has a bound on time
and size, the server's certificates and key, and no guard on addresses. Each failure is one ProviderError whose text
never holds the key. Whether the server is there is found out in the background, so that /ready can tell from memory.
aiohttp is imported only where such a server is configured, because a start waits for it.
"""

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

import orjson
import structlog
from pydantic import SecretStr

from assistant_runtime.checks import optional
from assistant_runtime.errors import ProviderError
from assistant_runtime.trust import distrust, trusting

if TYPE_CHECKING:
    import aiohttp

PROBE_SECONDS = 5.0
"""For a HEAD, for which a server computes nothing."""

UP_INTERVAL_SECONDS, DOWN_INTERVAL_SECONDS = 15.0, 2.0
"""Between probes."""

BROKEN = frozenset({500, 502, 503, 504})
"""Answers of a server that does not do its work, or of a proxy in front of one; any other shows that it is there."""

CONNECT_SECONDS = 5.0
"""A server of the same installation that does not accept within this is down."""

MAX_ANSWER_BYTES = 16 * 1024 * 1024
"""Bounds what one broken server can make this process hold."""

MAX_REASON_CHARACTERS = 300
"""Enough of a server's message to act on."""

NOT_FOUND = 404


class JsonClient:
    """A JSON API; `async with` opens and closes its connections.

    Parameters
    ----------
    name
        What errors call it.
    base_url
        Its root, without a slash at the end.
    key
        Sent as a bearer token.
    ca_file
        Certificates (PEM) to trust; None: the system's.
    ca_setting
        What names that file.
    timeout
        Seconds for a whole request.
    probed
        Path that is asked to see if the server is there.
    """

    _session: "aiohttp.ClientSession"

    def __init__(
        self,
        name: str,
        base_url: str,
        *,
        key: SecretStr | None = None,
        ca_file: str | None = None,
        ca_setting: str,
        timeout: float,
        probed: str = "",
    ) -> None:
        import aiohttp  # noqa: PLC0415 - see the module's docstring

        self.name = name
        self.base_url = base_url
        self._key = key.get_secret_value() if key else ""
        self._ca_file, self._ca_setting = ca_file, ca_setting
        self._timeout = aiohttp.ClientTimeout(total=timeout, connect=min(timeout, CONNECT_SECONDS))
        self._probed = f"{base_url}{probed}"
        self._status, self._detail = "starting", "not asked yet"
        self._log = structlog.get_logger(__name__)

    async def __aenter__(self) -> Self:
        import aiohttp  # noqa: PLC0415 - see the module's docstring

        secure = self.base_url.lower().startswith("https:")
        trusted = await asyncio.to_thread(trusting, self._ca_file) if secure else True
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(ssl=trusted),
            cookie_jar=aiohttp.DummyCookieJar(),
            headers={"authorization": f"Bearer {self._key}"} if self._key else {},
        )
        return self

    async def __aexit__(self, *_: object) -> None:
        await self._session.close()

    def check(self) -> dict[str, Any]:
        """Give the readiness check, from memory; everything else goes on without the server."""
        return optional(self._status, self._detail)

    async def get(self, path: str, params: Mapping[str, str]) -> Any:
        """Send a GET and give the answer's JSON; raises ProviderError."""
        return await self._request("GET", path, params=params)

    async def post(self, path: str, body: Mapping[str, Any]) -> Any:
        """Send a POST and give the answer's JSON; raises ProviderError."""
        return await self._request("POST", path, data=orjson.dumps(body), headers={"content-type": "application/json"})

    async def watch(self) -> None:
        """Find out from time to time whether the server is there, until cancelled."""
        while True:
            detail = await self._missing()
            status = "down" if detail else "up"
            if status != self._status:
                self._log.info("server_status", server=self.name, status=status, detail=detail)
            self._status, self._detail = status, detail
            await asyncio.sleep(DOWN_INTERVAL_SECONDS if detail else UP_INTERVAL_SECONDS)

    async def _missing(self) -> str:
        """Say why the server is not there; empty if it is."""
        import aiohttp  # noqa: PLC0415 - see the module's docstring

        try:
            async with (
                asyncio.timeout(PROBE_SECONDS),
                self._session.head(self._probed, timeout=self._timeout, allow_redirects=False) as response,
            ):
                return f"{self.name} answers {response.status}" if response.status in BROKEN else ""
        except TimeoutError:
            return f"{self.name} did not answer in time"
        except (aiohttp.ClientError, OSError) as error:
            return f"{self.name} {self._failure(error)}"

    async def _request(self, method: str, path: str, **sent: Any) -> Any:
        import aiohttp  # noqa: PLC0415 - see the module's docstring

        url = f"{self.base_url}{path}"
        try:
            async with self._session.request(
                method, url, timeout=self._timeout, allow_redirects=False, **sent
            ) as response:
                body = await self._read(response)
                status = response.status
        except TimeoutError:
            raise ProviderError(504, f"{self.name} did not answer in time", code="provider_timeout") from None
        except (aiohttp.ClientError, OSError) as error:
            raise ProviderError(502, f"{self.name} {self._failure(error)}", code="provider_unreachable") from error
        return self._decoded(status, body)

    def _failure(self, error: Exception) -> str:
        if untrusted := distrust(error, self._ca_setting):
            return untrusted
        return f"can't be reached: {self._without_key(str(error) or type(error).__name__)}"

    async def _read(self, response: "aiohttp.ClientResponse") -> bytes:
        body = bytearray()
        async for part in response.content.iter_any():
            body += part
            if len(body) > MAX_ANSWER_BYTES:
                response.close()
                raise ProviderError(
                    502, f"{self.name} sent more than {MAX_ANSWER_BYTES} bytes", code="provider_bad_response"
                )
        return bytes(body)

    def _decoded(self, status: int, body: bytes) -> Any:
        payload: Any = None
        with suppress(orjson.JSONDecodeError):
            payload = orjson.loads(body)
        if status in {401, 403}:
            # Without the server's text, which may quote the key.
            raise ProviderError(502, f"{self.name} refused access ({status})", code="provider_auth_error")
        if not 200 <= status < 300:  # noqa: PLR2004 - HTTP's numbers
            told = status if status in {400, NOT_FOUND, 422, 429} else 502
            reason = f"{self.name} answered {status}: {self._reason(payload)}"
            raise ProviderError(told, reason, code="provider_error")
        if payload is None:
            raise ProviderError(502, f"{self.name} sent no JSON", code="provider_bad_response")
        return payload

    def _reason(self, payload: Any) -> str:
        found = payload
        for name in ("error", "detail", "message"):
            if isinstance(found, dict) and found.get(name):
                found = found[name]
        text = found if isinstance(found, str) else "no reason given"
        return self._without_key(text)[:MAX_REASON_CHARACTERS]

    def _without_key(self, text: str) -> str:
        return text.replace(self._key, "[key]") if self._key else text
