"""Waiting for what must happen: so long that only hanging is an error, never a slow or busy machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

PATIENCE_S = 240.0
LOOK_S = 0.01


def eventually(look: Callable[[], Any], wanted: Any, *, seconds: float = PATIENCE_S, every_s: float = LOOK_S) -> None:
    """Look again and again until it is as wanted: equal to a value, or a function of what was seen is true."""
    end = time.monotonic() + seconds
    good = wanted if callable(wanted) else lambda seen: seen == wanted
    while not good(seen := look()):
        assert time.monotonic() < end, f"after {seconds:g} s it was still {seen!r}"
        time.sleep(every_s)
