#!/opt/venv/bin/python
"""Start the program that Firecrawl's images have under this name."""

import sys
from collections.abc import Callable
from importlib import import_module

PROGRAMS = {
    "dist/api.js": "browser",
    "dist/src/index.js": "api",
    "dist/src/services/queue-worker.js": "site_worker",
    "dist/src/services/worker/nuq-worker.js": "page_worker",
}
"""Modules by the script that Firecrawl's own images have for the same work; the first is in that of its browser."""


def main() -> None:
    """Run one program until SIGTERM."""
    script = " ".join(sys.argv[1:])
    if script not in PROGRAMS:
        sys.exit(f"this stand-in for Firecrawl has no {script}; it has {', '.join(PROGRAMS)}")
    program: Callable[[], None] = import_module(PROGRAMS[script]).main
    program()


if __name__ == "__main__":
    main()
