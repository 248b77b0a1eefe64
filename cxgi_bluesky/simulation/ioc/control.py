"""PVs about the IOC itself: faults on demand, counters, settings."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from caproto import ChannelType, SkipWrite
from caproto.server import PVGroup, pvproperty

from ...errors import CxgiError
from .beam import ShutterGroup
from .beamline import MAX_NUMBER, Bench, take_within


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


def _put(name: str, convert: Callable[[Any], Any], **bounds: float) -> Callable[..., Any]:
    """Putter of one of `Faults`, for a number within bounds if there are some (`take_within`)."""

    async def put(self: FaultGroup, instance: Any, value: Any) -> Any:
        if bounds:
            take_within(value, **bounds)
        setattr(self.bench.faults, name, convert(value))
        return value

    return put


def _get(name: str) -> Callable[..., Any]:
    """Getter of one of `Faults` that ends by itself: what is to be written, or None."""

    async def get(self: FaultGroup, instance: Any) -> Any:
        now = getattr(self.bench.faults, name)
        return None if instance.value == now else now

    return get


def _count_from_0(value: Any) -> int:
    return max(0, int(value))


class FaultGroup(PVGroup):
    """FAULT: PVs; each is written and stays until it is taken back, if its PV has no other rule."""

    async def _put_reading(self, instance: Any, value: str) -> str:
        self.bench.faults.reading = value
        self.bench.faults.overload_range = self.bench.keithley_range
        return value

    async def _put_permit(self, instance: Any, value: int) -> int:
        await self.shutter.set_permit(not value)
        return value

    async def _put_silent_s(self, instance: Any, value: float) -> float:
        take_within(value, 0, MAX_SILENCE_S)
        return value

    async def _put_silent(self, instance: Any, value: int) -> int:
        if value:
            seconds = self.silent_s.value
            asyncio.get_running_loop().call_later(BEFORE_SILENCE_S, self.silence.begin, seconds)
        return 0

    stuck = pvproperty(value=0, name="STUCK", put=_put("stuck", bool))
    lost = pvproperty(
        value=0.0, name="LOST_UM", units="um", precision=3,
        put=_put("lost_um", float, low=-MAX_NUMBER), get=_get("lost_um"),
    )  # fmt: skip
    short = pvproperty(
        value=0.0, name="SHORT_UM", units="um", precision=3,
        put=_put("short_um", float, low=-MAX_NUMBER), get=_get("short_um"),
    )  # fmt: skip
    short_moves = pvproperty(
        value=0, name="SHORT_MOVES", put=_put("short_moves", _count_from_0), get=_get("short_moves")
    )
    crossed = pvproperty(value=0, name="CROSSED", put=_put("crossed", bool))
    delay = pvproperty(
        value=0.0, name="SHUTTER_DELAY_S", units="s", precision=3, put=_put("shutter_delay_s", float, low=0)
    )  # fmt: skip
    late = pvproperty(
        value=0.0, name="TETRAMM_LATE_S", units="s", precision=3,
        put=_put("tetramm_late_s", float, low=0), get=_get("tetramm_late_s"),
    )  # fmt: skip
    fail = pvproperty(
        value="none", dtype=ENUM, enum_strings=["none", "open", "close"], name="SHUTTER_FAIL",
        put=_put("shutter_fail", str),
    )  # fmt: skip
    reading = pvproperty(
        value="none", dtype=ENUM, enum_strings=["none", "nan", "overload", "dip"], name="READING",
        put=_put_reading, get=_get("reading"),
    )  # fmt: skip
    readings = pvproperty(value=0, name="READINGS", put=_put("readings", _count_from_0), get=_get("readings"))
    dip = pvproperty(value=0.5, name="DIP", precision=3, put=_put("dip", float, low=0, high=1))
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
        take_within(value, 0)
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
