"""Does an exposure give a reading of its own, and how late does it come?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ..epics.arrivals import is_stamp
from ..epics.diode import EpicsDiode
from ..epics.signals import equals, read_uncached, read_uncached_with_time
from .findings import Finding

UNTOLD = "it cannot be told whether a value is of its own exposure"
STAMP = "see the record's TSE and its driver"
_MARGIN_S = 40.0


@dataclass(frozen=True)
class Exposed:
    """An exposure that was tried: its time, and how much later than its end the values came (s)."""

    exposure_s: float
    late_s: float

    def __str__(self) -> str:
        came = f"values {1000 * self.late_s:.0f} ms after its end" if self.late_s else "values there at its end"
        return f"one exposure of {self.exposure_s:g} s with the shutter closed, {came}"


def stamps(line: Any) -> list[Finding]:
    """Records of the detector and the monitor that have no time stamp."""
    return [
        Finding(place, f"{signal.pvname} has no time stamp: {UNTOLD}", f"try --expose; if it never has one, {STAMP}")
        for place, signal in _read_after_exposures(line.diode)
        if signal.connected and not is_stamp(read_uncached_with_time(signal)[1])
    ]


def _read_after_exposures(diode: EpicsDiode) -> list[tuple[str, Any]]:
    return [*(("diode", signal) for signal in diode.results), *(("monitor", s) for s in diode.monitor_signals)]


def try_exposure(line: Any) -> tuple[list[Finding], Exposed | None]:
    """Try one exposure with the shutter closed: do the values come, of that exposure, and how late?"""
    shutter, diode = line.shutter, line.diode
    signals = [shutter.readback, *(signal for _, signal in _read_after_exposures(diode))]
    if not all(signal.connected for signal in signals):
        return [Finding("diode", "no exposure was tried", "make shutter and detector answer first")], None
    if not equals(shutter.readback, read_uncached(shutter.readback), shutter.pvs.closed_value):
        return [Finding("shutter", "not closed: no exposure was tried", "close the shutter, then check again")], None
    exposure_s = float(diode.exposure_s.get())
    try:
        diode.stage()
        diode.trigger().wait(timeout=exposure_s + _MARGIN_S)
        return _judge(diode), Exposed(exposure_s, diode.arrivals.waited_s)
    except Exception as error:
        what = f"an exposure of {exposure_s:g} s has failed ({type(error).__name__}: {error})"
        return [Finding("diode", what, "see the detector and its PVs")], None
    finally:
        diode.unstage()


def _judge(diode: EpicsDiode) -> list[Finding]:
    if diode.fault:
        remedy = "raise late_s, let the acquisition wait for it (WaitForPlugins), or correct the PV"
        return [Finding("diode", diode.fault, remedy)]
    found = [Finding("diode", f"{pv} has no time stamp: {UNTOLD}", STAMP) for pv in diode.arrivals.without_stamps]
    if not math.isfinite(diode.current.get()):
        found.append(Finding("diode", "an exposure in the dark is an overload or no number", "see range and input"))
    return found
