"""May everything be written that a scan writes?"""

from __future__ import annotations

from typing import Any

from ophyd import EpicsSignal

from ..beamline import Beamline
from .findings import Finding
from .values import axes_of


def access(line: Beamline) -> list[Finding]:
    """PVs that move, open, close or expose, and that may not be written from here."""
    return [
        Finding(where, f"{signal.setpoint_pvname} is read-only from here", "correct the name, or get write access")
        for where, signal in _written(line)
        if isinstance(signal, EpicsSignal) and signal.connected and not signal.write_access
    ]


def _written(line: Any) -> list[tuple[str, Any]]:
    shutter = line.shutter
    signals = [(place, axis.user_setpoint) for place, axis in axes_of(line).items()]
    signals += [(f"shutter.{key}", getattr(shutter, key)) for key in ("command", "open_pulse", "close_pulse")]
    if shutter.barrier is not None:
        signals.append(("shutter.second_barrier.command", shutter.barrier.command))
    return [*signals, ("diode.acquire", getattr(line.diode, "acquire", None))]
