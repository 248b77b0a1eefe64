"""What the IOC counts itself, whatever the clients believe; a get is always fresh, monitors hear of it in exposures."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from caproto import SkipWrite
from caproto.server import PVGroup, pvproperty

from .beamline import Bench


def _count(name: str) -> Callable[..., Any]:
    """Getter of one of `Counts`."""

    async def get(self: CounterGroup, instance: Any) -> int:
        return int(getattr(self.bench.counts, name))

    return get


class CounterGroup(PVGroup):
    """COUNT: PVs."""

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
