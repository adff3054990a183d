#!/opt/venv/bin/python
"""Start the program that Firecrawl's image has under this name; without a name, what stands for its browser service."""

import sys
from collections.abc import Callable
from importlib import import_module

BROWSER = ""
PROGRAMS = {
    BROWSER: "browser",
    "dist/src/index.js": "api",
    "dist/src/services/queue-worker.js": "site_worker",
    "dist/src/services/worker/nuq-worker.js": "page_worker",
}
"""Modules by the script that Firecrawl's own image has for the same work."""


def main() -> None:
    """Run one program until SIGTERM."""
    script = " ".join(sys.argv[1:])
    if script not in PROGRAMS:
        sys.exit(f"this stand-in for Firecrawl has no {script}; it has {', '.join(filter(None, PROGRAMS))}")
    program: Callable[[], None] = import_module(PROGRAMS[script]).main
    program()


if __name__ == "__main__":
    main()
