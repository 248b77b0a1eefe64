"""OpenCount: how often and how long a shutter was open, from readbacks that come late and out of turn."""

from __future__ import annotations

import threading
import time

CLOCK_SET_BACK_S = 10.0  # an answer that is older than what is known by more was given by another clock


class OpenCount:
    """Openings and seconds open, by this process' clock; the IOC's time stamps only show which readback is newer."""

    def __init__(self) -> None:
        self._noting = threading.Lock()
        self._known_since = 0.0
        self._opened_at: float | None = None
        self._seconds, self.openings = 0.0, 0

    @property
    def seconds(self) -> float:
        """Seconds open, until now if it is."""
        since = self._opened_at
        return self._seconds + (0.0 if since is None else time.monotonic() - since)

    def is_late(self, timestamp: float) -> bool:
        """Whether a readback with this time stamp is older than what is known."""
        return timestamp < self._known_since

    def forget_times(self) -> None:
        """The IOC's clock was set back: what it reports from now on is new."""
        self._known_since = 0.0

    def set_back(self, timestamp: float) -> bool:
        """Whether an answer that was just asked for is so old that the IOC's clock must have been set back."""
        return 0 < timestamp < self._known_since - CLOCK_SET_BACK_S

    def note(self, opened: bool, timestamp: float) -> bool:
        """Take a readback; whether the shutter has closed by it.

        Parameters
        ----------
        opened : bool
            Whether the readback is open.
        timestamp : float
            Of the readback, by the IOC's clock (s; 0: unknown).
        """
        with self._noting:
            if self.is_late(timestamp):
                return False
            self._known_since, now = timestamp, time.monotonic()
            if opened and self._opened_at is None:
                self._opened_at, self.openings = now, self.openings + 1
            elif not opened and self._opened_at is not None:
                self._seconds, self._opened_at = self._seconds + now - self._opened_at, None
                return True
            return False
