"""Waiting for what an IOC does by and by, and hearing what it says meanwhile."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

EVENTUALLY_S = 10.0  # the machine may be busy
LOOK_S = 0.01


def eventually(look: Callable[[], Any], wanted: Any, *, seconds: float = EVENTUALLY_S) -> None:
    """Look again and again until it is as wanted: equal to a value, or a function of what was seen is true."""
    end = time.monotonic() + seconds
    good = wanted if callable(wanted) else lambda seen: seen == wanted
    while not good(seen := look()):
        assert time.monotonic() < end, f"after {seconds:g} s it was still {seen!r}"
        time.sleep(LOOK_S)


class Heard(list):
    """What a PV's monitor said, from the value of now on: each update as it came, repeated ones too.

    It is a subscription of its own, and begins with its first update. That one tells the present value whenever it
    comes; a client that took the present value by a get and then listened would hear it twice.
    """

    def __init__(self, client: Any, name: str) -> None:
        super().__init__()
        self._pv = client.subscribe(name, self.append)
        eventually(lambda: len(self), 1)

    def close(self) -> None:
        """Listen no more."""
        self._pv.clear_callbacks()
