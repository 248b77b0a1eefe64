"""Scaler record with the fields of ophyd.EpicsScaler: a clock and two voltage-to-frequency converters.

S1 counts the clock, S2 the diode (`COUNTS_PER_PA_S`), S3 the monitor (a hundredth of that). The frequency of a
converter ends at `FULL_HZ`: there it is overloaded.
"""

from __future__ import annotations

import math
from typing import Any

from caproto import ChannelType, SkipWrite
from caproto.server import PVGroup, pvproperty

from .diode import Exposer

CLOCK_HZ = 1e7
COUNTS_PER_PA_S = 1e4
I0_COUNTS_PER_PA_S = 1e2
FULL_HZ = 1e7
CHANNELS = range(1, 33)
NAMES = {1: "clock", 2: "diode", 3: "i0"}
ENUM, STRING = ChannelType.ENUM, ChannelType.STRING
FIELDS: dict[str, Any] = {
    f"{word}{channel}": pvproperty(
        value=value, dtype=STRING if word == "NM" else type(value), name=f".{word}{channel}", read_only=read_only
    )
    for channel in CHANNELS
    for word, value, read_only in (
        ("S", 0.0, True),
        ("NM", NAMES.get(channel, ""), False),
        ("PR", 0.0, False),
        ("G", 0, False),
    )
}


class ScalerGroup(PVGroup):
    """The record; a put to CNT completes when it has counted for TP seconds."""

    async def _put_count(self, instance: Any, value: Any) -> None:
        if value in ("Done", 0):
            self.exposer.stop()
            raise SkipWrite
        await instance.write("Count", verify_value=False)
        try:
            await self._count()
        finally:
            await instance.write("Done", verify_value=False)
        raise SkipWrite

    async def _put_preset(self, instance: Any, value: float) -> float:
        if not 0 < value < math.inf:
            raise SkipWrite
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
