"""What the assistants of these tests meet outside: a provider that does what it is told, a search index and a web site.

It runs in a pod, with Python's own library alone. The provider is told by the question: a JSON list is a tool and its
arguments, to be called; anything else is streamed word by word, the last one when `/release` was asked for. `/reader`
tells whose stream it is.
"""

import json
import threading
import time
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

PORT = 8080
MODEL = "scripted"
SITE = {
    "/": ("Home", '<a href="/towers">Towers</a>'),
    "/towers": ("Towers", "<h1>Towers</h1><p>The lighthouse of Genoa is <b>77 metres</b> high.</p>"),
}
RESULTS = Path(__file__).with_name("results.json")
"""What every search finds."""
released = threading.Event()
readers: list[str] = []
"""Addresses of those that streams went to."""


class Handler(BaseHTTPRequestHandler):
    """All three of them, told apart by path."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        path = self.path.split("?", maxsplit=1)[0]
        if path == "/release":
            released.set()
        if path in SITE:
            title, body = SITE[path]
            self._send("text/html", f"<html><title>{title}</title><body>{body}</body></html>")
        elif path == "/search":
            self._send("application/json", RESULTS.read_text())
        elif path == "/v1/models":
            self._send_json({"object": "list", "data": [{"id": MODEL, "object": "model"}]})
        else:
            self._send_json({"reader": readers[-1] if readers else None})

    def do_POST(self) -> None:
        asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        last = asked["messages"][-1]
        if asked.get("stream"):
            self._stream()
        elif last["role"] == "tool":
            self._answer({"role": "assistant", "content": last["content"]}, "stop")
        else:
            tool, arguments = json.loads(last["content"])
            function = {"name": tool, "arguments": json.dumps(arguments)}
            call = {"id": "call_1", "type": "function", "function": function}
            self._answer({"role": "assistant", "content": None, "tool_calls": [call]}, "tool_calls")

    def _answer(self, message: dict[str, Any], reason: str) -> None:
        usage = {"prompt_tokens": 10, "completion_tokens": 5, "total_tokens": 15}
        choice = {"index": 0, "message": message, "finish_reason": reason}
        self._send_json({"id": "1", "object": "chat.completion", "model": MODEL, "choices": [choice], "usage": usage})

    def _stream(self) -> None:
        released.clear()
        readers.append(self.client_address[0])
        self.send_response(200)
        self.send_header("Content-Type", "text/event-stream")
        self.send_header("Connection", "close")
        self.end_headers()
        for delta, reason in _words():
            choice = {"index": 0, "delta": delta, "finish_reason": reason}
            event = {"id": "1", "object": "chat.completion.chunk", "model": MODEL, "choices": [choice]}
            self.wfile.write(f"data: {json.dumps(event)}\n\n".encode())
            self.wfile.flush()
        self.wfile.write(b"data: [DONE]\n\n")
        self.close_connection = True

    def _send_json(self, content: object) -> None:
        self._send("application/json", json.dumps(content))

    def _send(self, kind: str, text: str) -> None:
        body = text.encode()
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


def _words() -> Iterator[tuple[dict[str, str], str | None]]:
    """Give a word twice a second until the end is asked for, and then the last one."""
    while not released.is_set():
        yield {"content": "on and "}, None
        time.sleep(0.5)
    yield {"content": "over."}, None
    yield {}, "stop"


if __name__ == "__main__":
    ThreadingHTTPServer(("0.0.0.0", PORT), Handler).serve_forever()
