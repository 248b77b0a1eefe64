"""OpenCount: how often and how long a shutter was open, from readbacks that come late and out of turn."""

from __future__ import annotations

import threading
import time

LATE_S = 10.0  # an update that is older than what is known by more tells of a clock that was set back


class OpenCount:
    """Openings and seconds open, by this process' clock; the IOC's time stamps only say which readback is newer."""

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

    def note(self, opened: bool, timestamp: float) -> bool:
        """Take a readback with the IOC's time stamp (s; 0: unknown); whether it tells that the shutter has closed."""
        with self._noting:
            if 0 < self._known_since - timestamp < LATE_S:
                return False
            self._known_since, now = timestamp, time.monotonic()
            if opened and self._opened_at is None:
                self._opened_at, self.openings = now, self.openings + 1
            elif not opened and self._opened_at is not None:
                self._seconds, self._opened_at = self._seconds + now - self._opened_at, None
                return True
            return False
