"""Runs in the middle of other runs, for tests."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import bluesky.plan_stubs as bps
import bluesky.preprocessors as bpp


def log(signal: Any, *, key: str | None = None, readings: int = 1, **md: Any) -> Any:
    """A run that reads a signal; with a key, one that may be opened in the middle of another."""

    def plan() -> Any:
        yield from bps.open_run(md=md)
        for _ in range(readings):
            yield from bps.trigger_and_read([signal])
        yield from bps.close_run()

    return plan() if key is None else bpp.set_run_key_wrapper(plan(), key)


def nested(plan: Any, other: Callable[[], Any], every: int) -> Any:
    """A plan, with another one after each so many of its events."""
    saved = 0

    def insert(msg: Any) -> tuple[Any, Any]:
        nonlocal saved
        if msg.command != "save" or msg.run is not None:
            return None, None
        saved += 1
        return None, other() if saved % every == 0 else None

    return bpp.plan_mutator(plan, insert)
