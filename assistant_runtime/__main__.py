"""`python -m assistant_runtime`, for an environment that has no console scripts."""

import sys

from assistant_runtime.cli import main

sys.exit(main())
