"""`cxgi` as a program of its own, which may set up its process."""

from __future__ import annotations

import atexit
import gc

from . import main

OBJECTS_BETWEEN_COLLECTIONS = 200_000  # Python's own 700: imports make a million objects, and every one of them stays


def run() -> int:
    """Run one command; returns the exit status.

    Garbage is looked for seldom while there is none, and not at the end: half of the time of a short command.
    """
    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS)
    atexit.register(gc.freeze)
    return main()
