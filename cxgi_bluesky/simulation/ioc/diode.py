"""Generic detector: write 1 to ACQUIRE with completion, then read VALUE; 0 ends an exposure, which is then void."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from caproto import SkipWrite
from caproto.server import PVGroup, pvproperty

from .beamline import Bench, Reading

OVERLOAD = 9.9e37  # what a Keithley says, too
Changed = Callable[[Reading | None], Awaitable[None]]


class Exposer:
    """Runs one exposure at a time; a new one, or `stop`, makes an earlier one void. Its end is told, None if void."""

    def __init__(self, bench: Bench, changed: Changed) -> None:
        self._bench, self._changed = bench, changed
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
        await self._changed(reading)
        return reading

    def stop(self) -> None:
        """End the exposure that is under way."""
        if self._task is not None:
            self._task.cancel()


class DiodeGroup(PVGroup):
    """ACQUIRE, VALUE and their kin; I0:VALUE is of the last exposure of any detector."""

    async def _put_acquire(self, instance: Any, value: Any) -> None:
        if not value:
            self.exposer.stop()
            raise SkipWrite
        await instance.write(1, verify_value=False)
        try:
            reading = await self.exposer.expose(self.exposure.value)
            if reading is not None:
                await self._publish(reading)
        finally:
            await instance.write(0, verify_value=False)
        raise SkipWrite

    async def _put_exposure(self, instance: Any, value: float) -> float:
        if not 0 < value < float("inf"):
            raise SkipWrite
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
