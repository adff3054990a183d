"""Connections to the API server: their proxy, and when the kernel gives up what it could not deliver."""

import socket
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
from aiohttp import AddrInfoType
from kubernetes.aio import client as kubernetes_client
from kubernetes.aio.client.rest import RESTClientObject


class Abandoning(RESTClientObject):  # type: ignore[misc]  # it has no types
    """Connections whose data is given up by the kernel when the other side does not confirm it in time.

    Otherwise the kernel would deliver a write after the network is back, although its request has timed out and its
    connection was closed long since.
    """

    def __init__(self, configuration: kubernetes_client.Configuration, seconds: float) -> None:
        super().__init__(configuration)
        self._seconds = seconds

    def _create_connector(self) -> aiohttp.TCPConnector:
        return aiohttp.TCPConnector(limit=0, ssl=self.ssl_context, socket_factory=self._socket)

    def _socket(self, address: AddrInfoType) -> socket.socket:
        family, kind, protocol, *_ = address
        made = socket.socket(family, kind, protocol)
        if option := getattr(socket, "TCP_USER_TIMEOUT", None):  # Linux has it
            made.setsockopt(socket.IPPROTO_TCP, option, int(self._seconds * 1000))
        return made


def proxy_of(host: str) -> str | None:
    """Return the proxy that the environment names for the API server: HTTPS_PROXY, unless NO_PROXY names the server."""
    server = urlsplit(host)
    return None if proxy_bypass(server.netloc) else getproxies().get(server.scheme)
