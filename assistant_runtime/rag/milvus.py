"""A Milvus, or Milvus Lite in a file: the connection, and whether it answers.

pymilvus calls block and its asynchronous client is declared experimental, so calls run in threads. The SDK takes 70 MB
and seconds to import, and so comes with the first document or search; until then the probe only opens a connection.
"""

import asyncio
import importlib.util
import ssl
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlsplit

from assistant_runtime.errors import StoreRefusedError
from assistant_runtime.settings import Settings
from assistant_runtime.stores.connection import StoreConnection
from assistant_runtime.trust import system_file, trusting

CALL_SECONDS = 20.0
"""Most calls take milliseconds; making and loading a collection takes seconds."""

CONNECT_SECONDS = 5.0
"""For the first exchange of a channel, which all calls wait for."""

THREADS = 8
"""Calls at once; more would only queue in a Milvus of this size."""

KEEPALIVE_MILLISECONDS = 360_000
"""Servers by gRPC's defaults end a connection that pings more often than every five minutes; pymilvus would every ten
seconds. Our own probe notices a server that is gone."""

LITE_FILE = "milvus.db"
DEFAULT_PORT = 19530

MAX_REASON_CHARACTERS = 200
"""Of what Milvus says."""

LIMITS = frozenset({3, 4, 7, 8, 9})
"""Milvus' error codes for a limit that it has reached: memory, requests, disk, rate, quota."""

REFUSALS = LIMITS | frozenset(range(1100, 1200)) | frozenset(range(1700, 1800))
"""And for parameters and fields that it can't take."""

CLIENT_REFUSALS = frozenset({"ParamError", "DataNotMatchException", "DataTypeNotMatchException", "PrimaryKeyException"})
"""What pymilvus refuses before it sends it, by class: its codes are all 1, as that of many failures."""

T = TypeVar("T")


class MilvusFailure(Exception):  # noqa: N818 - a failure of the server, in whatever class pymilvus tells it
    """Milvus did not do what it was asked."""


class MilvusConnection(StoreConnection):
    """One Milvus.

    Parameters
    ----------
    settings
        MILVUS_*; without MILVUS_URL the file is below DATA_DIR.
    """

    def __init__(self, settings: Settings) -> None:
        super().__init__("Milvus", CALL_SECONDS, "documents can't be kept or searched")
        self._url = settings.milvus_url
        self._folder = settings.data_dir
        self._ca_file = settings.milvus_ca_file
        self._options = _options(settings)
        self._trusted: ssl.SSLContext | None = None
        self._channel = _Channel(self._connect)
        self._used = False
        """Whether there was a call yet, so that the SDK is there."""

    @property
    def embedded(self) -> bool:
        """Whether it is Milvus Lite in this process."""
        return self._url is None

    async def ask(self, command: Callable[[Any], T]) -> T:
        """Run a command with pymilvus's client, in a thread.

        Raises
        ------
        StoreUnavailableError
            Milvus is known to be down, or just failed.
        """
        if not self._used:
            # Before the call's time begins, because it is this machine that takes it, and not Milvus.
            await asyncio.to_thread(self._import)
            self._used = True
        return await self.call(lambda: self._channel.ask(command))

    async def ping(self) -> None:
        """Ask for the collections, or only open a connection where the SDK is not needed yet."""
        # While it is down too, because pymilvus does not tell why a certificate is refused.
        if self._url is not None and not (self._used and self.available):
            await self._connect_once(self._url)
        if self._used:
            await self._channel.probe(lambda client: client.list_collections(timeout=CALL_SECONDS))

    async def _connect_once(self, url: str) -> None:
        parts = urlsplit(url)
        if parts.scheme == "https" and self._trusted is None:
            self._trusted = await asyncio.to_thread(trusting, self._ca_file)
            self._trusted.set_alpn_protocols(["h2"])
        port = parts.port or (443 if parts.scheme == "https" else DEFAULT_PORT)
        _, writer = await asyncio.open_connection(parts.hostname, port, ssl=self._trusted)
        writer.close()

    def check(self) -> dict[str, Any]:
        """Give the readiness check `milvus`."""
        told = super().check()
        return told | {"status": "embedded"} if self.embedded and told["status"] == "up" else told

    def reason(self, error: Exception) -> str:
        """Say what is wrong; pymilvus's own texts name the address at most."""
        if isinstance(error, MilvusFailure) and "auth" in str(error).lower():
            return "Milvus refuses MILVUS_USERNAME, MILVUS_PASSWORD or MILVUS_API_KEY"
        return super().reason(error)

    async def renew(self) -> None:
        """Have a new channel: an old one waits ever longer before it connects again, and calls hang on it."""
        if not self.embedded:
            self._channel.give_up()
            self._channel = _Channel(self._connect)

    async def disconnect(self) -> None:
        """Close every connection, without waiting for calls that hang."""
        self._channel.close(wait=self.embedded)

    def _import(self) -> None:
        """Load the SDK and, where it is used, Milvus Lite: seconds of a slow machine's time."""
        importlib.import_module("pymilvus")
        if self.embedded:
            importlib.import_module("milvus_lite.server_manager")

    def _connect(self) -> Any:
        from pymilvus import MilvusClient  # noqa: PLC0415

        uri = self._url
        if uri is None:
            folder = Path(self._folder or "")
            folder.mkdir(parents=True, exist_ok=True)
            uri = str(folder / LITE_FILE)
        # Of its own: pymilvus never closes a connection that clients may share, and shares it by address and user
        # alone, whatever authority they trust.
        return MilvusClient(uri, timeout=CONNECT_SECONDS, dedicated=True, **self._options)


class _Channel:
    """A client of pymilvus and the threads that its calls run in: where calls hang, all of it is given up together.

    Parameters
    ----------
    connect
        Gives a client.
    """

    def __init__(self, connect: Callable[[], Any]) -> None:
        self._connect = connect
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="milvus")
        # Of its own: what calls hang on is to be found out meanwhile.
        self._probing = ThreadPoolExecutor(1, thread_name_prefix="milvus-probe")
        self._connecting = threading.Lock()
        self._client: Any = None
        self._asked: set[asyncio.Future[Any]] = set()

    async def ask(self, command: Callable[[Any], T]) -> T:
        """Run a command in a thread."""
        return await self._in_thread(self._threads, command)

    async def probe(self, command: Callable[[Any], T]) -> T:
        """Run a command that waits for no other."""
        return await self._in_thread(self._probing, command)

    async def _in_thread(self, threads: ThreadPoolExecutor, command: Callable[[Any], T]) -> T:
        asked = asyncio.get_running_loop().run_in_executor(threads, self._run, command)
        self._asked.add(asked)
        asked.add_done_callback(self._asked.discard)
        return await asked

    def give_up(self) -> None:
        """Let nobody wait any longer for calls that hang; the connection is closed when the last of them has ended.

        Not before: gRPC ends the process where a channel is closed in the moment in which a thread begins a call on it.
        """
        for asked in list(self._asked):
            asked.cancel()
        for threads in (self._threads, self._probing):
            threads.shutdown(wait=False, cancel_futures=True)
        threading.Thread(target=self._close_after_calls, daemon=True).start()

    def close(self, *, wait: bool) -> None:
        """Close the connection at the end of the process, which ends calls that hang on it."""
        for threads in (self._threads, self._probing):
            threads.shutdown(wait=wait, cancel_futures=not wait)
        if self._client is not None:
            # It waits for a reconnect that hangs.
            threading.Thread(target=self._client.close, daemon=True).start()

    def _close_after_calls(self) -> None:
        for threads in (self._threads, self._probing):
            threads.shutdown(wait=True)
        if self._client is not None:
            self._client.close()

    def _run(self, command: Callable[[Any], T]) -> T:
        from pymilvus.exceptions import MilvusException  # noqa: PLC0415 - 70 MB, only where documents are used

        try:
            return command(self._connected())
        except MilvusException as error:
            if _refuses(error):
                text = str(error.message)[:MAX_REASON_CHARACTERS]
                raise StoreRefusedError(
                    f"Milvus refuses what this request asks: {text}", status=_status(error)
                ) from error
            raise MilvusFailure(str(error)) from error
        except Exception as error:
            raise MilvusFailure(str(error)) from error

    def _connected(self) -> Any:
        with self._connecting:
            # One at a time: Milvus Lite refuses a second client of its file.
            self._client = self._client or self._connect()
            return self._client


def _refuses(error: Any) -> bool:
    """Tell whether Milvus, or its client, refuses one call, by Milvus' error codes."""
    if isinstance(error.code, int) and error.code in REFUSALS:
        return True
    return type(error).__name__ in CLIENT_REFUSALS


def _status(error: Any) -> int:
    """Give the HTTP status: the limits of a server are its own, and anything else is the request's."""
    return 503 if error.code in LIMITS else 400


def milvus_of(settings: Settings) -> MilvusConnection | None:
    """Give the Milvus of the settings; None where there is neither a server nor Milvus Lite and a folder for it."""
    if settings.milvus_url is None and (settings.data_dir is None or not importlib.util.find_spec("milvus_lite")):
        return None
    return MilvusConnection(settings)


def _options(settings: Settings) -> dict[str, Any]:
    # Without a pool of its own, a new channel has the connection of an old one, on which calls may hang.
    channel = {"grpc.keepalive_time_ms": KEEPALIVE_MILLISECONDS, "grpc.use_local_subchannel_pool": 1}
    options: dict[str, Any] = {"grpc_options": channel}
    if settings.milvus_api_key:
        options["token"] = settings.milvus_api_key.get_secret_value()
    elif settings.milvus_username and settings.milvus_password:
        options["token"] = f"{settings.milvus_username}:{settings.milvus_password.get_secret_value()}"
    # gRPC brings authorities of its own, which are not those that everything else here trusts.
    authority = settings.milvus_ca_file or system_file()
    if authority and (settings.milvus_url or "").startswith("https://"):
        options |= {"secure": True, "server_pem_path": authority}
    return options
