"""`python -m harness COMMAND …` is the same as `prunegate COMMAND …`."""

from __future__ import annotations

import sys

from harness.cli import main

if __name__ == "__main__":
    sys.exit(main())
