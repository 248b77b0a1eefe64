"""``python -m cxgi_bluesky.cli``."""

import sys

from .program import run

if __name__ == "__main__":
    sys.exit(run())
