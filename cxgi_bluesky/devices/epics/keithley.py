"""KeithleyDiode: a Keithley 6485 or 6487 with the synApps database Keithley648x."""

from __future__ import annotations

from typing import Any

import numpy as np
from ophyd import Component, EpicsSignal, EpicsSignalRO, Kind

from ..base import Settings
from .diode import PA_PER_UNIT, EpicsDiode, Reading
from .signals import put_and_complete

PASSIVE = 0  # of the field SCAN
SLOW_S = 0.1  # 5 power line cycles at 50 Hz, 6 at 60 Hz
RATES = {"slow": "Slow", "medium": "Medium", "fast": "Fast"}  # labels of rateSet
RANGES = tuple(range(8))  # 2 nA ... 20 mA
READING_TIMEOUT_S = 10.0


class KeithleyDiode(EpicsDiode):
    """A picoammeter that is asked for as many readings as fit into the exposure time; they give mean and spread.

    While it is staged it does not scan by itself, zero check and automatic range are off, and the rate is fixed; range
    and all the rest are put back afterwards.

    Parameters
    ----------
    prefix : str
        ``$(P)$(M)`` of the database, such as ``29idMZ0:ca1:``.
    rate : {"fast", "medium", "slow"}
    start_range : int, optional
        Index of ``rangeSet`` to begin with; by default the one that is set.
    line_hz : float
        Of the mains.
    unit : str
        Of ``read``.
    kwargs
        Of `EpicsDiode`; `ranges` are the eight of the instrument.
    """

    reading = Component(EpicsSignalRO, "read", kind=Kind.omitted)
    process = Component(EpicsSignal, "read.PROC", kind=Kind.omitted)
    scan = Component(EpicsSignal, "read.SCAN", kind=Kind.omitted)
    overflow = Component(EpicsSignalRO, "readStatusOverflow", kind=Kind.omitted)
    zero_check = Component(EpicsSignal, "zeroCheckSet", kind=Kind.config)
    range_auto = Component(EpicsSignal, "rangeAutoSet", kind=Kind.config)
    range_set = Component(EpicsSignal, "rangeSet", kind=Kind.config)
    rate_set = Component(EpicsSignal, "rateSet", string=True, kind=Kind.config)

    def __init__(
        self,
        prefix: str = "",
        *,
        rate: str = "slow",
        start_range: int | None = None,
        line_hz: float = 50.0,
        unit: str = "A",
        **kwargs: Any,
    ) -> None:
        self.unit, self._factor, self._start_range = unit, PA_PER_UNIT[unit], start_range
        self.reading_s = {"slow": SLOW_S, "medium": 1 / line_hz, "fast": 0.1 / line_hz}[rate]
        super().__init__(prefix, **{"ranges": RANGES, **kwargs})
        self.stage_sigs.update(scan=PASSIVE, zero_check=0, range_auto=0, rate_set=RATES[rate])

    def settings(self) -> Settings:
        """Of a reading; range and rate are read of the instrument."""
        return {**super().settings(), "reading_s": (self.reading_s, "s"), "value_unit": (self.unit, "")}

    @property
    def _range_signal(self) -> Any:
        return self.range_set

    def stage(self) -> list[object]:
        """Stage; the range is put back afterwards if an overload has changed it."""
        start = self.range_set.get() if self._start_range is None else self._start_range
        self.stage_sigs["range_set"] = int(start)
        return super().stage()

    @property
    def results(self) -> tuple[Any, ...]:
        """Signals that are read after an exposure."""
        return self.reading, self.overflow

    def _measure(self, exposure_s: float) -> Reading:
        self._note()
        pairs = [self._read() for _ in range(max(1, round(exposure_s / self.reading_s)))]
        readings = np.array([current_pa for current_pa, _ in pairs])
        overload = any(overflow for _, overflow in pairs)
        if len(readings) == 1:
            return Reading(float(readings[0]), float("nan"), overload)
        return Reading(float(readings.mean()), float(readings.std(ddof=1) / len(readings) ** 0.5), overload)

    def _read(self) -> tuple[float, bool]:
        """One reading in pA, NaN if it overflows, and whether it does."""
        put_and_complete(self.process, 1, READING_TIMEOUT_S)
        current, overflow = self.arrivals.take(self.reading, self.overflow)
        return float("nan") if overflow else self._factor * float(current), bool(overflow)
