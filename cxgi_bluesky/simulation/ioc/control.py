"""PVs about the IOC itself: faults on demand, counters, settings."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Callable
from typing import Any

from caproto import ChannelType, SkipWrite
from caproto.server import PVGroup, pvproperty

from ...errors import CxgiError
from .beam import ShutterGroup
from .beamline import Bench


class Silence:
    """Gate before everything that the server sends."""

    def __init__(self) -> None:
        self._answering = asyncio.Event()
        self._answering.set()

    @property
    def now(self) -> bool:
        """Whether the server is silent."""
        return not self._answering.is_set()

    def begin(self, seconds: float) -> None:
        """Be silent for so many real seconds."""
        self._answering.clear()
        asyncio.get_running_loop().call_later(seconds, self._answering.set)

    async def over(self) -> None:
        """Wait until it is over."""
        await self._answering.wait()


# ---------------------------------------------------------------- faults


ENUM = ChannelType.ENUM
MAX_SILENCE_S = 3600.0
BEFORE_SILENCE_S = 0.05  # so that the put that asks for it is still answered


class FaultGroup(PVGroup):
    """FAULT: PVs; each is written and stays until it is taken back, if its PV has no other rule."""

    async def _put_stuck(self, instance: Any, value: int) -> int:
        self.bench.faults.stuck = bool(value)
        return value

    async def _put_lost(self, instance: Any, value: float) -> float:
        if not math.isfinite(value):
            raise SkipWrite
        self.bench.faults.lost_um = float(value)
        return value

    async def _get_lost(self, instance: Any) -> float | None:
        return self._unless_same(instance, self.bench.faults.lost_um)

    async def _put_short(self, instance: Any, value: float) -> float:
        if not math.isfinite(value):
            raise SkipWrite
        self.bench.faults.short_um = float(value)
        return value

    async def _get_short(self, instance: Any) -> float | None:
        return self._unless_same(instance, self.bench.faults.short_um)

    async def _put_short_moves(self, instance: Any, value: int) -> int:
        self.bench.faults.short_moves = max(0, int(value))
        return value

    async def _get_short_moves(self, instance: Any) -> int | None:
        return self._unless_same(instance, self.bench.faults.short_moves)

    async def _put_crossed(self, instance: Any, value: int) -> int:
        self.bench.faults.crossed = bool(value)
        return value

    async def _put_dip(self, instance: Any, value: float) -> float:
        if not 0 <= value <= 1:
            raise SkipWrite
        self.bench.faults.dip = float(value)
        return value

    async def _put_delay(self, instance: Any, value: float) -> float:
        if not 0 <= value < math.inf:
            raise SkipWrite
        self.bench.faults.shutter_delay_s = float(value)
        return value

    async def _put_late(self, instance: Any, value: float) -> float:
        if not 0 <= value < math.inf:
            raise SkipWrite
        self.bench.faults.tetramm_late_s = float(value)
        return value

    async def _get_late(self, instance: Any) -> float | None:
        return self._unless_same(instance, self.bench.faults.tetramm_late_s)

    async def _put_fail(self, instance: Any, value: str) -> str:
        self.bench.faults.shutter_fail = value
        return value

    async def _put_reading(self, instance: Any, value: str) -> str:
        self.bench.faults.reading = value
        self.bench.faults.overload_range = self.bench.keithley_range
        return value

    async def _get_reading(self, instance: Any) -> str | None:
        return self._unless_same(instance, self.bench.faults.reading)

    async def _put_readings(self, instance: Any, value: int) -> int:
        self.bench.faults.readings = max(0, int(value))
        return value

    async def _get_readings(self, instance: Any) -> int | None:
        return self._unless_same(instance, self.bench.faults.readings)

    async def _put_permit(self, instance: Any, value: int) -> int:
        await self.shutter.set_permit(not value)
        return value

    async def _put_silent_s(self, instance: Any, value: float) -> float:
        if not 0 <= value <= MAX_SILENCE_S:
            raise SkipWrite
        return value

    async def _put_silent(self, instance: Any, value: int) -> int:
        if value:
            seconds = self.silent_s.value
            asyncio.get_running_loop().call_later(BEFORE_SILENCE_S, self.silence.begin, seconds)
        return 0

    @staticmethod
    def _unless_same(instance: Any, value: Any) -> Any:
        """What a getter hands over to be written, or None."""
        return None if instance.value == value else value

    stuck = pvproperty(value=0, name="STUCK", put=_put_stuck)
    lost = pvproperty(value=0.0, name="LOST_UM", units="um", precision=3, put=_put_lost, get=_get_lost)
    short = pvproperty(value=0.0, name="SHORT_UM", units="um", precision=3, put=_put_short, get=_get_short)
    short_moves = pvproperty(value=0, name="SHORT_MOVES", put=_put_short_moves, get=_get_short_moves)
    crossed = pvproperty(value=0, name="CROSSED", put=_put_crossed)
    delay = pvproperty(value=0.0, name="SHUTTER_DELAY_S", units="s", precision=3, put=_put_delay)
    late = pvproperty(
        value=0.0, name="TETRAMM_LATE_S", units="s", precision=3, put=_put_late, get=_get_late
    )  # fmt: skip
    fail = pvproperty(
        value="none", dtype=ENUM, enum_strings=["none", "open", "close"], name="SHUTTER_FAIL", put=_put_fail
    )  # fmt: skip
    reading = pvproperty(
        value="none", dtype=ENUM, enum_strings=["none", "nan", "overload", "dip"], name="READING",
        put=_put_reading, get=_get_reading,
    )  # fmt: skip
    readings = pvproperty(value=0, name="READINGS", put=_put_readings, get=_get_readings)
    dip = pvproperty(value=0.5, name="DIP", precision=3, put=_put_dip)
    permit = pvproperty(value=0, name="PERMIT", put=_put_permit)
    silent = pvproperty(value=0, name="SILENT", put=_put_silent)
    silent_s = pvproperty(value=5.0, name="SILENT_S", units="s", precision=1, put=_put_silent_s)

    def __init__(self, prefix: str, *, bench: Bench, shutter: ShutterGroup, silence: Silence, **kwargs: Any) -> None:
        self.bench, self.shutter, self.silence = bench, shutter, silence
        super().__init__(prefix, **kwargs)


# ---------------------------------------------------------------- counters and settings


def _count(name: str) -> Callable[..., Any]:
    """Getter of one of `Counts`."""

    async def get(self: CounterGroup, instance: Any) -> int:
        return int(getattr(self.bench.counts, name))

    return get


class CounterGroup(PVGroup):
    """COUNT: PVs, counted here whatever the clients believe; monitors are updated once an exposure, a get at once."""

    async def _get_open(self, instance: Any) -> float:
        return self.bench.open.seconds

    async def _put_reset(self, instance: Any, value: Any) -> None:
        if value:
            self.bench.reset_counts()
            await self.publish()
        raise SkipWrite

    openings = pvproperty(value=0, name="OPENINGS", read_only=True, get=_count("openings"))
    open_s = pvproperty(value=0.0, name="OPEN_S", units="s", precision=3, read_only=True, get=_get_open)
    exposures = pvproperty(value=0, name="EXPOSURES", read_only=True, get=_count("exposures"))
    dark_exposures = pvproperty(value=0, name="DARK_EXPOSURES", read_only=True, get=_count("dark_exposures"))
    moves = pvproperty(value=0, name="MOVES", read_only=True, get=_count("moves"))
    reset = pvproperty(value=0, name="RESET", put=_put_reset)

    def __init__(self, prefix: str, *, bench: Bench, **kwargs: Any) -> None:
        self.bench = bench
        super().__init__(prefix, **kwargs)

    async def publish(self) -> None:
        """Bring the monitors up to date."""
        for pv in (self.openings, self.open_s, self.exposures, self.dark_exposures, self.moves):
            value = await pv.getter(pv)
            if pv.value != value:
                await pv.write(value)


class SettingsGroup(PVGroup):
    """TIME_SCALE and SEED."""

    async def _put_scale(self, instance: Any, value: float) -> float:
        try:
            self.bench.clock.scale = float(value)
        except CxgiError:
            raise SkipWrite from None
        return value

    async def _put_seed(self, instance: Any, value: int) -> int:
        if value < 0:
            raise SkipWrite
        self.bench.seed(int(value))
        return value

    async def begin(self) -> None:
        """Show the options."""
        await self.scale.write(self.bench.clock.scale, verify_value=False)
        await self.seed.write(self.bench.options.seed, verify_value=False)

    scale = pvproperty(value=1.0, name="TIME_SCALE", precision=3, put=_put_scale)
    seed = pvproperty(value=0, name="SEED", put=_put_seed)

    def __init__(self, prefix: str, *, bench: Bench, **kwargs: Any) -> None:
        self.bench = bench
        super().__init__(prefix, **kwargs)
