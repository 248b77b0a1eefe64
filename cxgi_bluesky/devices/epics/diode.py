"""EpicsDiode: what every bucket detector over EPICS does with an exposure; a subclass knows how to take one reading."""

from __future__ import annotations

import logging
import math
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from ophyd import Component, EpicsSignalRO, Kind, Signal
from ophyd.status import StatusBase

from ..base import Settings
from ..diode import Current, Diode
from ..status import in_background
from .arrivals import LATE_S, STRAGGLER_S, Arrivals, LateError
from .signals import EpicsDevice, Timeouts

logger = logging.getLogger(__name__)

PA_PER_UNIT = {"A": 1e12, "mA": 1e9, "uA": 1e6, "nA": 1e3, "pA": 1.0, "fA": 1e-3}
OVERFLOW = 9e37  # instruments that speak SCPI give 9.9e37 for an overflow
REPEATING_S = 20.0  # a repeat begins no later: plans wait 30 s longer than the exposure
_MARGIN_S = 25.0


@dataclass(frozen=True)
class Reading:
    """Mean of an exposure and one standard deviation of that mean (pA); NaN: not known.

    `i0` is the reading of the monitor, in its own unit, where that was read with the rest; `late` is what has not come.
    """

    mean_pa: float
    sigma_pa: float
    overload: bool = False
    i0: float | None = None
    late: str = ""

    @property
    def good(self) -> bool:
        """Whether it is a number that the detector could measure."""
        return math.isfinite(self.mean_pa) and not self.overload


class Count(Signal):
    """A whole number."""

    def describe(self) -> dict[str, Any]:
        """Description with exact type."""
        keys = super().describe()
        keys[self.name] |= {"dtype": "integer", "dtype_numpy": "<i8", "units": ""}
        return keys


@dataclass(frozen=True)
class Monitor:
    """A PV of the incident intensity, read after each exposure, and its unit."""

    pv: str
    unit: str = "pA"


class Straggler:
    """What a detector still owes after an exposure that failed, as a thing that plans trigger and wait for."""

    parent = None

    def __init__(self, diode: EpicsDiode) -> None:
        self._diode = diode
        self.name = f"{diode.name}_straggler"

    def trigger(self) -> StatusBase:
        """Wait until it has come, or is taken to be lost."""
        return in_background(self, self._diode.arrivals.settle, STRAGGLER_S + _MARGIN_S)


class EpicsDiode(EpicsDevice, Diode, ABC):
    """Base of the bucket detectors over EPICS.

    A reading that is overloaded or NaN is repeated on the next range, where there are ranges, at most `max_repeats`
    times and for `REPEATING_S`; if none is good the bucket is NaN, which leaves the exposure out of every image.
    So is the bucket of an exposure whose values, all of them, have not come within `late_s` (`Arrivals`).

    A subclass gives `_measure` and `results`, and may give `_abort`; with ranges also `_range_signal` and `ranges`.

    Parameters
    ----------
    monitor : Monitor, optional
        Incident intensity: data key ``NAME_i0``, and `fields.i0` of the run.
    ranges : sequence, optional
        Values of the range PV from the most sensitive to the least.
    max_repeats : int
    range_settle_s : float
        Wait after a change of range.
    late_s : float
        Longest wait for the values after the end of the acquisition (s).
    timeouts : Timeouts

    Attributes
    ----------
    overload : 1 if the reading that was stored was overloaded.
    repeats : readings that were thrown away before it, on more sensitive ranges.
    range : range PV's value of the reading; -1 without ranges.
    late : 1 if the values did not come in time, and the bucket is NaN.
    """

    overload = Component(Count, value=0, kind=Kind.normal)
    repeats = Component(Count, value=0, kind=Kind.normal)
    range = Component(Count, value=-1, kind=Kind.normal)
    late = Component(Count, value=0, kind=Kind.normal)
    i0 = Component(Current, value=math.nan, kind=Kind.omitted)

    def __init__(
        self,
        prefix: str = "",
        *,
        monitor: Monitor | None = None,
        ranges: Sequence[int] = (),
        max_repeats: int = 2,
        range_settle_s: float = 0.1,
        late_s: float = LATE_S,
        timeouts: Timeouts | None = None,
        **kwargs: Any,
    ) -> None:
        self.timeouts = timeouts or Timeouts()
        self.ranges, self.max_repeats, self.range_settle_s = tuple(ranges), max_repeats, range_settle_s
        self._turn = object()
        self._busy = threading.Lock()
        super().__init__(prefix, **kwargs)
        self.arrivals, self.straggler = Arrivals(self.name, late_s), Straggler(self)
        self._warned_late = False
        self.monitor = monitor
        self._monitor_factor = 1.0
        self._monitor_signal: Any = None
        if monitor is not None:
            self._monitor_factor = PA_PER_UNIT[monitor.unit]
            self._monitor_signal = self.optional("i0_pv", monitor.pv, EpicsSignalRO)
            self.i0.kind = Kind.normal
            self.i0_name = self.i0.name

    def settings(self) -> Settings:
        """Of ranges, waits and monitor."""
        own: Settings = {"late_s": (self.arrivals.late_s, "s")}
        if self.ranges:
            own |= {
                "ranges": (self.ranges, ""),
                "max_repeats": (self.max_repeats, ""),
                "range_settle_s": (self.range_settle_s, "s"),
            }
        if self.monitor is not None:
            own |= {"monitor_pv": (self.monitor.pv, ""), "monitor_unit": (self.monitor.unit, "")}
        return {**super().settings(), **own}

    # ------------------------------------------------------------ what a subclass gives

    @abstractmethod
    def _measure(self, exposure_s: float) -> Reading:
        """One exposure on the present range; waits for it. `_note` comes just before its trigger.

        What it reads it takes from `arrivals`, which may raise `LateError`.
        """

    @property
    @abstractmethod
    def results(self) -> tuple[Any, ...]:
        """Signals that are read after an exposure; the others are published with the first."""

    def _abort(self) -> None:
        """End a reading that is under way, where that can be done."""

    @property
    def _range_signal(self) -> Any:
        """Signal of the range, None without ranges."""
        return None

    # ------------------------------------------------------------ one exposure

    def trigger(self) -> StatusBase:
        """Expose once; an exposure that was interrupted is forgotten, and this one begins when that has ended."""
        self._turn = turn = object()
        exposure_s = float(self.exposure_s.get())
        return in_background(self, lambda: self._expose(turn, exposure_s), exposure_s + _MARGIN_S)

    def stop(self, *, success: bool = False) -> None:
        """Forget the exposure and end its reading."""
        self._turn = object()
        try:
            if self._busy.locked():
                self._abort()
        finally:
            super().stop(success=success)

    def stage(self) -> list[object]:
        """Stage, when the exposure of an earlier scan that was cut off has ended."""
        self._wait_until_idle()
        self.arrivals.forget()
        self.fault, self._warned_late = "", False
        return super().stage()

    def pause(self) -> None:
        """Forget the exposure: the plan repeats it when it is resumed."""
        self.stop()
        super().pause()

    def resume(self) -> None:
        """Wait until the exposure that was interrupted has ended: the shutter would open, and nothing be exposed."""
        self._wait_until_idle()
        super().resume()

    def _wait_until_idle(self) -> None:
        longest_s = float(self.exposure_s.get()) + _MARGIN_S
        if not self._busy.acquire(timeout=longest_s):
            logger.warning("%s: still busy with the exposure before after %g s", self.name, longest_s)
            return
        self._busy.release()

    def _expose(self, turn: object, exposure_s: float) -> None:
        with self._busy:
            self.arrivals.settle()
            deadline = time.monotonic() + REPEATING_S - exposure_s
            repeats = 0
            while turn is self._turn:
                reading = self._measure_in_time(exposure_s)
                again = not (reading.good or reading.late)
                again = again and repeats < self.max_repeats and time.monotonic() < deadline
                if not (again and turn is self._turn and self._to_next_range()):
                    break
                repeats += 1
            if turn is self._turn:
                self._store(reading, repeats)

    def _note(self) -> None:
        """Note the stamps of all that will be read, just before a trigger."""
        first, *followers = self.results
        self.arrivals.note([first, *self.monitor_signals], followers)

    @property
    def monitor_signals(self) -> list[Any]:
        """The signal of the incident intensity, if there is one."""
        return [] if self._monitor_signal is None else [self._monitor_signal]

    def _measure_in_time(self, exposure_s: float) -> Reading:
        """One exposure and its incident intensity; without a number if something of it has not come in time."""
        try:
            reading = self._measure(exposure_s)
            if reading.i0 is None and self.monitor_signals:
                (i0,) = self.arrivals.take(self._monitor_signal)
                reading = replace(reading, i0=float(i0))
        except LateError as error:
            return Reading(math.nan, math.nan, i0=math.nan, late=str(error))
        return reading

    def _to_next_range(self) -> bool:
        """Go to the next less sensitive range; False without one."""
        if self._range_signal is None:
            return False
        now = int(self._range_signal.get())
        if now not in self.ranges or self.ranges.index(now) + 1 == len(self.ranges):
            return False
        value = self.ranges[self.ranges.index(now) + 1]
        logger.warning("%s: overloaded or no number on range %s, repeated on range %s", self.name, now, value)
        self._range_signal.set(value).wait(timeout=self.timeouts.write_s)
        time.sleep(self.range_settle_s)
        return True

    def _store(self, reading: Reading, repeats: int) -> None:
        self._warn_of(reading)
        self.fault = reading.late
        self.current.put(reading.mean_pa if reading.good else math.nan)
        self.sigma.put(reading.sigma_pa if reading.good else math.nan)
        self.overload.put(int(reading.overload))
        self.late.put(int(bool(reading.late)))
        self.repeats.put(repeats)
        if self._range_signal is not None:
            self.range.put(int(self._range_signal.get()))
        if reading.i0 is not None:
            self.i0.put(self._monitor_factor * reading.i0)

    def _warn_of(self, reading: Reading) -> None:
        if reading.late and not self._warned_late:
            logger.warning(
                "%s: %s: if it comes later, raise late_s of the beamline file, or let the acquisition wait for it "
                "(WaitForPlugins); if it is never updated, it is the wrong PV",
                self.name,
                reading.late,
            )
            self._warned_late = True
        elif not (reading.good or reading.late):
            logger.warning("%s: %s, exposure left out", self.name, "overload" if reading.overload else "no number")
