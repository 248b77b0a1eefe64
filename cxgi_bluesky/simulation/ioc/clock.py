"""The IOC's time: real, stretched, or as fast as it can."""

from __future__ import annotations

import asyncio
import math
import time
from contextlib import suppress

from ...errors import ConfigError


class Clock:
    """Simulated seconds.

    With a scale above 0 they pass by themselves, each in `scale` real seconds. With scale 0 they pass only in
    exposures (`spend`), which then take no real time. A new scale holds at once, also for what is under way.

    Raises
    ------
    CxgiError
        For a scale that is negative or not finite.
    """

    def __init__(self, scale: float) -> None:
        self._scale = _check(scale)
        self._base = 0.0
        self._since = time.monotonic()
        self._changed = asyncio.Event()

    @property
    def scale(self) -> float:
        """Real seconds per simulated second."""
        return self._scale

    @scale.setter
    def scale(self, scale: float) -> None:
        self._base, self._since, self._scale = self.now(), time.monotonic(), _check(scale)
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    def now(self) -> float:
        """Simulated seconds since the start."""
        return self._base + ((time.monotonic() - self._since) / self._scale if self._scale else 0.0)

    async def wait(self, seconds: float) -> None:
        """Let something take its time; with scale 0 it takes none."""
        end = self.now() + seconds
        await asyncio.sleep(0)
        while self._scale and (left := end - self.now()) > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), left * self._scale)

    async def spend(self, seconds: float) -> None:
        """Let simulated seconds pass, whatever the scale."""
        end = self.now() + seconds
        await self.wait(seconds)
        if not self._scale:
            self._base = max(self._base, end)


class Stopwatch:
    """Simulated seconds during which something was the case."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._past = 0.0
        self._since: float | None = None

    @property
    def running(self) -> bool:
        """Whether it is the case."""
        return self._since is not None

    @property
    def seconds(self) -> float:
        """Seconds so far."""
        return self._past + (0.0 if self._since is None else self._clock.now() - self._since)

    def set(self, running: bool) -> None:
        """Start or halt it."""
        if running != self.running:
            self._past = self.seconds
            self._since = self._clock.now() if running else None

    def reset(self) -> None:
        """Forget the past."""
        self._past = 0.0
        self._since = self._clock.now() if self.running else None


def _check(scale: float) -> float:
    if not (math.isfinite(scale) and scale >= 0):
        raise ConfigError(f"time scale {scale}: give 1 for real time, 0 for as fast as it can")
    return scale
