"""Entry point of `python -m devcluster.demo`; the Makefile's `demo`, `down` and `push` are its commands."""

import sys

from devcluster.demo.cli import main

if __name__ == "__main__":
    sys.exit(main())
