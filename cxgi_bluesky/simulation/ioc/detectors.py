"""Simulated detectors: one with a PV to acquire and one of the value, a Keithley 6487, a scaler record."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Awaitable, Callable
from typing import Any

from caproto import ChannelType, SkipWrite
from caproto.server import PVGroup, pvproperty

from .beamline import ABOVE_0, Bench, Reading, take_within

OVERLOAD = 9.9e37  # as a Keithley reports it
OnEnd = Callable[[Reading | None], Awaitable[None]]


class Exposer:
    """Runs one exposure at a time; a new one, or `stop`, makes an earlier one void. `on_end` gets the result."""

    def __init__(self, bench: Bench, on_end: OnEnd) -> None:
        self._bench, self._on_end = bench, on_end
        self._task: asyncio.Task[Reading] | None = None

    async def expose(self, exposure_s: float, *, drift_steps: float = 1.0) -> Reading | None:
        """Expose (`Bench.expose`); None if it was made void.

        Parameters
        ----------
        exposure_s : float
            Exposure time (simulated s).
        drift_steps : float, optional
            Steps of the source's drift; 1 by default.
        """
        self.stop()
        self._task = task = asyncio.ensure_future(self._bench.expose(exposure_s, drift_steps=drift_steps))
        await asyncio.wait({task})
        reading = None if task.cancelled() else task.result()
        await self._on_end(reading)
        return reading

    def stop(self) -> None:
        """End the exposure that is under way."""
        if self._task is not None:
            self._task.cancel()


async def be_busy(pv: Any, work: Awaitable[None], busy: Any = 1, done: Any = 0) -> None:
    """Answer the put that has begun some work when that has ended; the PV says so in the meantime.

    Parameters
    ----------
    pv : pvproperty
        What was put to.
    work : awaitable
        What it has begun.
    busy, done : optional
        What the PV says during the work, and after it.
    """
    await pv.write(busy, verify_value=False)
    try:
        await work
    finally:
        await pv.write(done, verify_value=False)
    raise SkipWrite


class DiodeGroup(PVGroup):
    """ACQUIRE, VALUE and their kin; I0:VALUE is of the last exposure of any detector.

    A put of 1 to ACQUIRE completes at the end of the exposure; 0 ends it, and it is then void.
    """

    async def _put_acquire(self, instance: Any, value: Any) -> None:
        if not value:
            self.exposer.stop()
            raise SkipWrite
        await be_busy(instance, self._expose())

    async def _expose(self) -> None:
        reading = await self.exposer.expose(self.exposure.value)
        if reading is not None:
            await self._publish(reading)

    async def _put_exposure(self, instance: Any, value: float) -> float:
        take_within(value, ABOVE_0)
        return value

    acquire = pvproperty(value=0, name="ACQUIRE", put=_put_acquire)
    value = pvproperty(value=0.0, name="VALUE", units="pA", precision=4, read_only=True)
    spread = pvproperty(value=0.0, name="SPREAD", units="pA", precision=4, read_only=True)
    overload = pvproperty(value=0, name="OVERLOAD", read_only=True)
    exposure = pvproperty(value=1.0, name="EXPOSURE_S", units="s", precision=3, put=_put_exposure)
    i0 = pvproperty(value=0.0, name="I0:VALUE", units="pA", precision=3, read_only=True)

    def __init__(self, prefix: str, *, exposer: Exposer, **kwargs: Any) -> None:
        self.exposer = exposer
        super().__init__(prefix, **kwargs)

    async def _publish(self, reading: Reading) -> None:
        await self.value.write(OVERLOAD if reading.overload else reading.current_pa)
        await self.spread.write(reading.spread_pa)
        await self.overload.write(int(reading.overload))


# ---------------------------------------------------------------- keithley


A_PER_PA = 1e-12
RANGES = ["2 nA", "20 nA", "200 nA", "2 uA", "20 uA", "200 uA", "2 mA", "20 mA"]
FULL_A = [2.1e-9 * 10.0**i for i in range(len(RANGES))]
RATES = {"Fast": 0.002, "Medium": 0.02, "Slow": 0.1}  # s of a reading: 0.1, 1 and 5 cycles of 50 Hz
DRIFT_STEP_S = 1.0  # of readings in a step of the source's drift
OFF_ON = ["Off", "On"]
ENUM, STRING = ChannelType.ENUM, ChannelType.STRING


async def _process(fields: Any, instance: Any, value: Any) -> None:
    await fields.parent.group.read_once()
    raise SkipWrite


class KeithleyGroup(PVGroup):
    """Keithley 6487 with the record names of the synApps database Keithley648x: read, range, rate, zero check.

    `read` is Passive here: put 1 to read.PROC with completion for one reading, in A, as long as the rate gives.
    """

    async def _put_range(self, instance: Any, value: str) -> str:
        await self.range.write(value)
        self.bench.keithley_range = RANGES.index(value)
        return value

    async def _put_rate(self, instance: Any, value: str) -> str:
        await self.rate.write(value)
        return value

    async def _put_check(self, instance: Any, value: str) -> str:
        await self.zero_check.write(value)
        return value

    async def _put_auto(self, instance: Any, value: str) -> str:
        await self.range_auto.write(value)
        return value

    reading = pvproperty(value=0.0, name="read", record="ai", units="A", precision=15, read_only=True)
    reading.fields.process_record.putter(_process)
    range_set = pvproperty(value="2 nA", dtype=ENUM, enum_strings=RANGES, name="rangeSet", put=_put_range)
    range = pvproperty(value="2 nA", dtype=ENUM, enum_strings=RANGES, name="range", read_only=True)
    auto_set = pvproperty(value="Off", dtype=ENUM, enum_strings=OFF_ON, name="rangeAutoSet", put=_put_auto)
    range_auto = pvproperty(value="Off", dtype=ENUM, enum_strings=OFF_ON, name="rangeAuto", read_only=True)
    rate_set = pvproperty(value="Slow", dtype=ENUM, enum_strings=list(RATES), name="rateSet", put=_put_rate)
    rate = pvproperty(value="Slow", dtype=ENUM, enum_strings=list(RATES), name="rate", read_only=True)
    check_set = pvproperty(value="Off", dtype=ENUM, enum_strings=OFF_ON, name="zeroCheckSet", put=_put_check)
    zero_check = pvproperty(value="Off", dtype=ENUM, enum_strings=OFF_ON, name="zeroCheck", read_only=True)
    overflow = pvproperty(value=0, name="readStatusOverflow", read_only=True)

    def __init__(self, prefix: str, *, bench: Bench, exposer: Exposer, **kwargs: Any) -> None:
        self.bench, self.exposer = bench, exposer
        super().__init__(prefix, **kwargs)

    async def begin(self) -> None:
        """Show the unit."""
        await self.reading.fields["EGU"].write("A")
        await self.reading.fields["SCAN"].write("Passive")

    async def read_once(self) -> None:
        """Take a reading; with zero check on the input is disconnected."""
        seconds = RATES[self.rate.value]
        reading = await self.exposer.expose(seconds, drift_steps=seconds / DRIFT_STEP_S)
        if reading is None:
            return
        current = 0.0 if self.zero_check.value == "On" else reading.current_pa * A_PER_PA
        overflow = self._overflows(current, reading.overload)
        await self.overflow.write(int(overflow))
        await self.reading.write(OVERLOAD if overflow else current)

    def _overflows(self, current: float, overload: bool) -> bool:
        """Whether the range is exceeded; the overload that was asked for ends on a higher range."""
        if self.range_auto.value == "On":
            return False
        index = RANGES.index(self.range.value)
        return abs(current) > FULL_A[index] or (overload and index <= self.bench.faults.overload_range)


# ---------------------------------------------------------------- scaler


CLOCK_HZ = 1e7
COUNTS_PER_PA_S = 1e4
I0_COUNTS_PER_PA_S = 1e2
FULL_HZ = 1e7
CHANNELS = range(1, 33)
NAMES = {1: "clock", 2: "diode", 3: "i0"}
FIELDS: dict[str, Any] = {
    f"{field}{channel}": pvproperty(
        value=value, dtype=STRING if field == "NM" else type(value), name=f".{field}{channel}", read_only=read_only
    )
    for channel in CHANNELS
    for field, value, read_only in (
        ("S", 0.0, True),
        ("NM", NAMES.get(channel, ""), False),
        ("PR", 0.0, False),
        ("G", 0, False),
    )
}


class ScalerGroup(PVGroup):
    """Scaler record with the fields of ophyd.EpicsScaler; a put to CNT completes when it has counted for TP seconds.

    S1 counts the clock; S2 the diode (`COUNTS_PER_PA_S`) and S3 the monitor, by voltage-to-frequency converters that
    are overloaded at `FULL_HZ`.
    """

    async def _put_count(self, instance: Any, value: Any) -> None:
        if value in ("Done", 0):
            self.exposer.stop()
            raise SkipWrite
        await be_busy(instance, self._count(), "Count", "Done")

    async def _put_preset(self, instance: Any, value: float) -> float:
        take_within(value, ABOVE_0)
        return value

    count = pvproperty(value="Done", dtype=ENUM, enum_strings=["Done", "Count"], name=".CNT", put=_put_count)
    mode = pvproperty(value="OneShot", dtype=ENUM, enum_strings=["OneShot", "AutoCount"], name=".CONT")
    preset = pvproperty(value=1.0, name=".TP", units="s", precision=3, put=_put_preset)
    auto_preset = pvproperty(value=1.0, name=".TP1", precision=3)
    time = pvproperty(value=0.0, name=".T", units="s", precision=3)
    frequency = pvproperty(value=CLOCK_HZ, name=".FREQ")
    delay = pvproperty(value=0.0, name=".DLY")
    auto_delay = pvproperty(value=0.0, name=".DLY1")
    rate = pvproperty(value=10.0, name=".RATE")
    auto_rate = pvproperty(value=10.0, name=".RAT1")
    unit = pvproperty(value="counts", dtype=STRING, name=".EGU")
    locals().update(FIELDS)

    def __init__(self, prefix: str, *, exposer: Exposer, **kwargs: Any) -> None:
        self.exposer = exposer
        super().__init__(prefix, **kwargs)

    async def _count(self) -> None:
        seconds = self.preset.value
        reading = await self.exposer.expose(seconds)
        if reading is None:
            return
        full = FULL_HZ * seconds
        diode = full if reading.overload else _counts(reading.current_pa * COUNTS_PER_PA_S * seconds, full)
        await self.time.write(seconds)
        counted = (CLOCK_HZ * seconds, diode, _counts(reading.i0_pa * I0_COUNTS_PER_PA_S * seconds, full))
        for channel, counts in enumerate(counted, start=1):
            await self.attr_pvdb[f"S{channel}"].write(counts)


def _counts(pulses: float, full: float) -> float:
    """Whole pulses, none below zero; a reading that failed counts nothing."""
    return float(round(min(max(pulses, 0.0), full))) if math.isfinite(pulses) else 0.0
