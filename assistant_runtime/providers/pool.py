"""Connections to one provider: opened when needed, kept for the next request, through the proxy if there is one.

An `https` provider goes through HTTPS_PROXY, with NO_PROXY's exceptions. There is no limit on connections: the requests
in flight are the limit, and a queue here would hide them.
"""

import asyncio
import base64
import os
import ssl
from collections import deque
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies_environment, proxy_bypass_environment  # type: ignore[attr-defined]  # not in typeshed

from assistant_runtime.providers.connection import BadResponseError, Connection, DisconnectedError
from assistant_runtime.trust import trusting

DEFAULT_PORTS = {"http": 80, "https": 443}

MAX_PROXY_ANSWER_BYTES = 64 * 1024
"""A proxy that refuses a tunnel says so in a page."""


class ConnectFailedError(Exception):
    """No connection came about; the text says why."""


class ConnectionPool:
    """Connections to one origin.

    Parameters
    ----------
    url
        Any URL of the origin.
    keepalive
        Seconds that a connection is kept for the next request.
    ca_file
        Certificates to trust in place of the system's.
    """

    def __init__(self, url: str, *, keepalive: float, ca_file: str | None = None) -> None:
        parts = urlsplit(url)
        self._secure = parts.scheme == "https"
        self._host = parts.hostname or ""
        self._port = parts.port or DEFAULT_PORTS[parts.scheme]
        self._proxy = _proxy(self._host) if self._secure else None
        self._keepalive = keepalive
        self._ca_file = ca_file
        self._context: ssl.SSLContext | None = None
        self._idle: deque[Connection] = deque()
        self._closed = False

    async def request(
        self, request: bytes, *, whole: bool, patience: float, connect_seconds: float, max_bytes: int
    ) -> Connection:
        """Send a request and give the connection with the answer, to be given back by `release`.

        A kept connection that its server closed meanwhile is replaced by another, as long as nothing was received.

        Raises
        ------
        ConnectFailedError, TimeoutError, DisconnectedError, BadResponseError
        """
        while True:
            kept = self._kept()
            connection = kept or await self._connect(connect_seconds)
            try:
                await connection.exchange(request, whole=whole, patience=patience, max_bytes=max_bytes)
            except DisconnectedError:
                if kept is None or connection.received:
                    raise
            except BaseException:
                connection.close()
                raise
            else:
                return connection

    def release(self, connection: Connection) -> None:
        """Keep the connection for the next request, unless its answer was not read to the end."""
        if self._closed:
            connection.close()
        elif connection.release(self._keepalive):
            self._idle.append(connection)

    def close(self) -> None:
        """Close every kept connection, and from now on those that come back."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    def _kept(self) -> Connection | None:
        while self._idle:
            # The one used last, so that what a burst opened can end.
            connection = self._idle.pop()
            if connection.open:
                while self._idle and not self._idle[0].open:
                    self._idle.popleft()
                return connection
        return None

    async def _connect(self, seconds: float) -> Connection:
        try:
            async with asyncio.timeout(seconds):
                return await (self._tunnel(self._proxy, seconds) if self._proxy else self._direct())
        except TimeoutError:
            raise
        except (OSError, ssl.CertificateError) as error:
            raise ConnectFailedError(_cause(error)) from error

    async def _direct(self) -> Connection:
        loop = asyncio.get_running_loop()
        context = self._tls() if self._secure else None
        _, connection = await loop.create_connection(
            lambda: Connection(loop),
            self._host,
            self._port,
            ssl=context,
            server_hostname=self._host if context else None,
        )
        return connection

    async def _tunnel(self, proxy: SplitResult, seconds: float) -> Connection:
        """Ask the proxy for a tunnel, and speak TLS with the provider through it."""
        loop = asyncio.get_running_loop()
        _, opening = await loop.create_connection(
            lambda: Connection(loop), proxy.hostname or "", proxy.port or DEFAULT_PORTS["http"]
        )
        try:
            request = _connect_request(f"{self._host}:{self._port}", proxy)
            await opening.exchange(request, whole=False, patience=seconds, max_bytes=MAX_PROXY_ANSWER_BYTES)
            _check_tunnel(opening.status)
            connection = Connection(loop)
            transport = await loop.start_tls(opening.transport, connection, self._tls(), server_hostname=self._host)
        except BadResponseError as error:
            opening.close()
            raise ConnectFailedError(f"the proxy of HTTPS_PROXY sent {error}") from error
        except BaseException:
            opening.close()
            raise
        opening.hand_over()
        assert transport is not None  # noqa: S101 - None only for a transport that is closing
        connection.connection_made(transport)
        return connection

    def _tls(self) -> ssl.SSLContext:
        if self._context is None:
            self._context = trusting(self._ca_file)
            self._context.set_alpn_protocols(["http/1.1"])
        return self._context


def _proxy(host: str) -> SplitResult | None:
    proxies = getproxies_environment()
    if "https" not in proxies or proxy_bypass_environment(host, proxies):
        return None
    url = proxies["https"]
    return urlsplit(url if "://" in url else f"http://{url}")


def _connect_request(target: str, proxy: SplitResult) -> bytes:
    head = f"CONNECT {target} HTTP/1.1\r\nhost: {target}\r\n"
    if proxy.username is not None:
        credentials = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}".encode()
        head += f"proxy-authorization: Basic {base64.b64encode(credentials).decode()}\r\n"
    return f"{head}\r\n".encode()


def _check_tunnel(status: int) -> None:
    if status != 200:  # noqa: PLR2004 - HTTP's number
        raise ConnectFailedError(f"the proxy of HTTPS_PROXY answered {status}")


def _cause(error: Exception) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return error.verify_message
    if isinstance(error, OSError):
        number = error.errno
        # asyncio words it with the address; name look-ups have negative numbers and words of their own.
        return os.strerror(number) if number and number > 0 else error.strerror or str(error)
    return str(error)
