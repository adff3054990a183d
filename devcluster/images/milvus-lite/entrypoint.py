"""Start Milvus Lite's server by the command and the folders of the official Milvus image, and answer its health probe.

Milvus Lite has neither passwords nor a health endpoint: whatever a client sends as its password is taken, and health is
whether the server answers a connection.
"""

import os
import signal
import subprocess
import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import grpc

SERVER = Path(sys.executable).with_name("milvus-lite")
COMMAND = (["milvus", "run", "standalone"], ["run", "standalone"])
FOLDER = "lite"
"""Within the volume, apart from what Milvus itself may have there: neither reads the other's files."""
ANSWER_SECONDS = 4.0


def main() -> int:
    """Run the server until it ends, by itself or on SIGTERM; return its exit code."""
    if sys.argv[1:] not in COMMAND:
        sys.exit(f"only `{' '.join(COMMAND[0])}` can be run here, not: {' '.join(sys.argv[1:])}")
    if os.environ.get("COMMON_SECURITY_AUTHORIZATIONENABLED", "").lower() == "true":
        print("Milvus Lite asks for no password, though it was told to", file=sys.stderr, flush=True)
    port = os.environ.get("PROXY_PORT", "19530")
    data = Path(os.environ.get("MILVUS_DATA_DIR", "/var/lib/milvus"), FOLDER)
    where = ["--host", "0.0.0.0", "--port", port]  # noqa: S104 - a pod's port is reached from other pods
    server = subprocess.Popen([SERVER, "server", "--data-dir", data, *where])
    signal.signal(signal.SIGTERM, lambda *_: server.terminate())
    health = ThreadingHTTPServer(("0.0.0.0", int(os.environ.get("METRICS_PORT", "9091"))), _health(port))  # noqa: S104
    threading.Thread(target=health.serve_forever, daemon=True).start()
    code = server.wait()
    return code if code >= 0 else 128 - code  # ended by a signal, as a shell tells it


def _health(port: str) -> type[BaseHTTPRequestHandler]:
    class Health(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = self.path == "/healthz"
            status = HTTPStatus.OK if known and _answers(port) else HTTPStatus.SERVICE_UNAVAILABLE
            self.send_response(status if known else HTTPStatus.NOT_FOUND)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Write nothing: probes come every few seconds."""

    return Health


def _answers(port: str) -> bool:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        try:
            grpc.channel_ready_future(channel).result(timeout=ANSWER_SECONDS)
        except grpc.FutureTimeoutError:
            return False
    return True


if __name__ == "__main__":
    sys.exit(main())
