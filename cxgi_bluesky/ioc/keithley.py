"""Keithley 6487 as the synApps database Keithley648x names its records: read, range, rate, zero check.

`read` is Passive here: put 1 to read.PROC with completion, then get read, in A.
"""

from __future__ import annotations

from typing import Any

from caproto import ChannelType, SkipWrite
from caproto.server import PVGroup, pvproperty

from .diode import Exposer

A_PER_PA = 1e-12
LINE_HZ = 60.0
OVERFLOW_A = 9.9e37
RANGES = ["2nA", "20nA", "200nA", "2uA", "20uA", "200uA", "2mA", "20mA"]
RANGES_A = [2e-9 * 10.0**i for i in range(len(RANGES))]
RATES = ["Slow", "Medium", "Fast", "No Filter"]
OFF_ON = ["Off", "On"]
ENUM = ChannelType.ENUM


async def _process(fields: Any, instance: Any, value: Any) -> None:
    await fields.parent.group.read_once()
    raise SkipWrite


class KeithleyGroup(PVGroup):
    """The records; an exposure lasts EXPOSURE_S of the generic detector, by which all detectors here are timed."""

    async def _put_range(self, instance: Any, value: str) -> str:
        await self.range.write(value)
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
    range_set = pvproperty(value="2nA", dtype=ENUM, enum_strings=RANGES, name="rangeSet", put=_put_range)
    range = pvproperty(value="2nA", dtype=ENUM, enum_strings=RANGES, name="range", read_only=True)
    auto_set = pvproperty(value="Off", dtype=ENUM, enum_strings=OFF_ON, name="rangeAutoSet", put=_put_auto)
    range_auto = pvproperty(value="Off", dtype=ENUM, enum_strings=OFF_ON, name="rangeAuto", read_only=True)
    rate_set = pvproperty(value="Slow", dtype=ENUM, enum_strings=RATES, name="rateSet", put=_put_rate)
    rate = pvproperty(value="Slow", dtype=ENUM, enum_strings=RATES, name="rate", read_only=True)
    check_set = pvproperty(value="Off", dtype=ENUM, enum_strings=OFF_ON, name="zeroCheckSet", put=_put_check)
    zero_check = pvproperty(value="Off", dtype=ENUM, enum_strings=OFF_ON, name="zeroCheck", read_only=True)
    overflow = pvproperty(value=0, name="readStatusOverflow", read_only=True)

    def __init__(self, prefix: str, *, exposer: Exposer, exposure: Any, **kwargs: Any) -> None:
        self.exposer, self._exposure = exposer, exposure
        super().__init__(prefix, **kwargs)

    async def read_once(self) -> None:
        """Take a reading; with zero check on the input is disconnected."""
        reading = await self.exposer.expose(self._exposure.value)
        if reading is None:
            return
        current = reading.current_pa * A_PER_PA
        if self.zero_check.value == "On":
            current = 0.0
        full = RANGES_A[RANGES.index(self.range.value)] * 1.05
        overflow = reading.overload or (self.range_auto.value == "Off" and abs(current) > full)
        await self.overflow.write(int(overflow))
        await self.reading.write(OVERFLOW_A if overflow else current)
