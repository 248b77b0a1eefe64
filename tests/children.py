"""Processes that tests start and signal."""

from __future__ import annotations

import signal
from types import FrameType

HEEDED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def heed_signals_in_children() -> None:
    """Let children be ended by signals that this process was started to ignore, as under nohup or in a script's `&`.

    An ignored signal is inherited, a handled one is not: this process goes on ignoring it, by a handler.
    """
    for number in HEEDED:
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, _go_on)


def _go_on(number: int, frame: FrameType | None) -> None:
    """Nothing happens."""
