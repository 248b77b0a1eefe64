"""Keithley 6487 as the synApps database Keithley648x names its records: read, range, rate, zero check.

`read` is Passive here: put 1 to read.PROC with completion for one reading, in A, of as long as the rate says.
"""

from __future__ import annotations

from typing import Any

from caproto import ChannelType, SkipWrite
from caproto.server import PVGroup, pvproperty

from .beamline import Bench
from .diode import OVERLOAD, Exposer

A_PER_PA = 1e-12
RANGES = ["2 nA", "20 nA", "200 nA", "2 uA", "20 uA", "200 uA", "2 mA", "20 mA"]
FULL_A = [2.1e-9 * 10.0**i for i in range(len(RANGES))]
RATES = {"Fast": 0.002, "Medium": 0.02, "Slow": 0.1}  # s of a reading: 0.1, 1 and 5 cycles of 50 Hz
DRIFT_STEP_S = 1.0  # of readings in a step of the source's drift
OFF_ON = ["Off", "On"]
ENUM = ChannelType.ENUM


async def _process(fields: Any, instance: Any, value: Any) -> None:
    await fields.parent.group.read_once()
    raise SkipWrite


class KeithleyGroup(PVGroup):
    """The records."""

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
