"""A bound on a request's head: uvicorn's fast parser has none, and would collect headers until memory ends."""

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

MAX_HEAD_BYTES = (256 + 64) * 1024
"""Far more than any proxy lets through: 64 KiB of head, and one read of at most 256 KiB, which may end in a body."""


class BoundedHeadProtocol(HttpToolsProtocol):
    """Cut a connection whose request line and headers do not end."""

    _head_bytes = 0
    _in_head = True

    def data_received(self, data: bytes) -> None:
        """Take bytes, unless they make the head too long."""
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self.transport.abort()
                return
        super().data_received(data)

    def on_headers_complete(self) -> None:
        """Note that what follows is the body."""
        self._in_head = False
        self._head_bytes = 0
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Note that the next bytes begin a new head."""
        self._in_head = True
        super().on_message_complete()
