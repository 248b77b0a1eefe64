"""Which PVs a shutter has, what their values mean, and how long it may take."""

from __future__ import annotations

from dataclasses import dataclass

from .barrier import Value


@dataclass(frozen=True)
class ShutterPvs:
    """PVs of a shutter, and what their values mean: numbers, or words of an enum.

    Either `command` (with `open_value`, `close_value`) or `open_pulse` and `close_pulse` (which get `pulse_value`).
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


@dataclass(frozen=True)
class ShutterTimes:
    """Longest times (s) to open and to close, a wait after opening, and the most that the IOC lets it be open."""

    opening_s: float = 3.0
    closing_s: float = 3.0
    settle_s: float = 0.0
    max_open_s: float | None = None
