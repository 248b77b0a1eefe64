"""Hearing what an IOC says meanwhile."""

from __future__ import annotations

from typing import Any

from tests.patience import eventually


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
