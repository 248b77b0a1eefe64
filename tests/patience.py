"""Waiting for what must happen: so long that only hanging is an error, never a slow or busy machine."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

PATIENCE_S = 240.0
LOOK_S, MAX_PAUSE_S = 0.01, 0.2


def eventually(look: Callable[[], Any], wanted: Any, *, seconds: float = PATIENCE_S, every_s: float = LOOK_S) -> None:
    """Look again and again until it is as wanted: equal to a value, or a function of what was seen is true.

    The longer it takes, the longer are the pauses: whoever waits leaves the processor to what is waited for.
    """
    begin = time.monotonic()
    good = wanted if callable(wanted) else lambda seen: seen == wanted
    while not good(seen := look()):
        waited = time.monotonic() - begin
        assert waited < seconds, f"after {seconds:g} s it was still {seen!r}"
        time.sleep(max(every_s, min(MAX_PAUSE_S, waited / 20)))
