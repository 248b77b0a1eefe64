"""What a stage raises that is not where it should be."""

from __future__ import annotations


class PositionError(RuntimeError):
    """An axis is not where it was sent to; moving there again may help."""


class NotArrivedError(PositionError):
    """A move has not ended in time, or was stopped: moving again does not help."""
