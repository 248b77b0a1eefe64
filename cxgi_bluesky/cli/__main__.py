"""``python -m cxgi_bluesky.cli``."""

import sys

from . import main

sys.exit(main())
