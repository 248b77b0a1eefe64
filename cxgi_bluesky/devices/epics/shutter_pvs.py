"""Which PVs a shutter has, what their values mean, and how long it may take."""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import CxgiError
from .barrier import Value

LONGEST_CLOSING_S = 9.0  # shutter and second barrier together: plans wait 10 s for a shutter


@dataclass(frozen=True)
class ShutterPvs:
    """PVs of a shutter, and what their values mean: numbers, or words of an enum.

    Either `command` (with `open_value`, `close_value`) or `open_pulse` and `close_pulse` (which get `pulse_value`).

    Raises
    ------
    CxgiError
        For both, or neither.
    """

    readback: str
    command: str | None = None
    open_pulse: str | None = None
    close_pulse: str | None = None
    open_value: Value = 1
    close_value: Value = 0
    pulse_value: Value = 1
    opened_value: Value = 1
    closed_value: Value = 0
    permit: str | None = None
    permit_value: Value = 1
    max_open: str | None = None
    reset: str | None = None

    def __post_init__(self) -> None:
        pulses = self.open_pulse is not None and self.close_pulse is not None
        if (self.command is not None) == pulses:
            raise CxgiError("a shutter has either a command PV or both open_pulse and close_pulse: give one of the two")


@dataclass(frozen=True)
class ShutterTimes:
    """Longest times (s) to open and to close, a wait after opening, and the most that the IOC lets it be open."""

    opening_s: float = 3.0
    closing_s: float = 3.0
    settle_s: float = 0.0
    max_open_s: float | None = None


def check_times(times: ShutterTimes, barrier_s: float | None) -> None:
    """Raise `CxgiError` for times that are longer than plans wait, the second barrier's closing included."""
    closing_s = times.closing_s + (barrier_s or 0.0)
    for words, seconds in (("opening_s", times.opening_s), ("closing_s of shutter and barrier", closing_s)):
        if not 0 < seconds <= LONGEST_CLOSING_S:
            raise CxgiError(
                f"{words} {seconds:g} s: give more than 0 and at most {LONGEST_CLOSING_S:g}, plans wait 10 s"
            )
