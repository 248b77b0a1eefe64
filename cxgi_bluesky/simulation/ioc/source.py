"""The source: on or off, and its current."""

from __future__ import annotations

from typing import Any

from caproto import ChannelType
from caproto.server import PVGroup, pvproperty

from .beamline import Bench

STATES = ["Off", "On"]


class SourceGroup(PVGroup):
    """SOURCE: PVs."""

    async def _put(self, instance: Any, value: str) -> str:
        self.bench.source_on = value == "On"
        self.bench.light()
        await self.status.write(value)
        await self.current.write(self.bench.source_ma())
        return value

    async def _get_current(self, instance: Any) -> float:
        return self.bench.source_ma()

    command = pvproperty(value="On", dtype=ChannelType.ENUM, enum_strings=STATES, name="CMD", put=_put)
    status = pvproperty(value="On", dtype=ChannelType.ENUM, enum_strings=STATES, name="STATUS", read_only=True)
    current = pvproperty(value=0.0, name="CURRENT", units="mA", precision=4, read_only=True, get=_get_current)

    async def begin(self) -> None:
        """Show the current: a client's first monitor is the value that was written last."""
        await self.current.write(self.bench.source_ma())

    def __init__(self, prefix: str, *, bench: Bench, **kwargs: Any) -> None:
        self.bench = bench
        super().__init__(prefix, **kwargs)
