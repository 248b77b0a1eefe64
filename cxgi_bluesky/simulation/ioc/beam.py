"""What lets the beam through: shutter, backup shutter and source.

A timer closes the shutter, whatever has become of the client.
"""

from __future__ import annotations

import asyncio
import math
from typing import Any

from caproto import ChannelType, SkipWrite
from caproto.server import PVGroup, pvproperty

from .beamline import Bench, take_within

TRAVEL_S = 0.02  # simulated seconds that the blades take
COMMANDS = ["Close", "Open"]
CLOSED, OPEN, MOVING, FAILED = STATES = ["Closed", "Open", "Moving", "Failed"]
OFF_ON = ["Off", "On"]
ENUM = ChannelType.ENUM


class Blades(PVGroup):
    """What shutter and backup shutter have in common: CMD, STATUS and a movement that takes its time."""

    async def _put_command(self, instance: Any, value: str) -> None:
        await (self.open() if value == "Open" else self.close())
        raise SkipWrite

    command = pvproperty(value="Close", dtype=ENUM, enum_strings=COMMANDS, name="CMD", put=_put_command)
    status = pvproperty(value=CLOSED, dtype=ENUM, enum_strings=STATES, name="STATUS", read_only=True)

    def __init__(self, prefix: str, *, bench: Bench, **kwargs: Any) -> None:
        self.bench = bench
        self._target = False
        self._travel: asyncio.Task[None] | None = None
        super().__init__(prefix, **kwargs)

    async def open(self) -> None:
        """Open; returns when it is open, or another command has taken over."""
        await self._move(True)

    async def close(self) -> None:
        """Close; returns when it is closed."""
        await self._move(False)

    async def _move(self, opened: bool) -> None:
        """Go there, unless it is there; a movement to the other side is broken off, one to the same side waited for."""
        await self._write(self.command, COMMANDS[opened])
        travel = self._travel
        if travel is None or travel.done() or self._target != opened:
            self._break_off()
            if self._there(opened):
                return
            self._target = opened
            self._travel = travel = asyncio.ensure_future(self._go(opened))
        await asyncio.wait({travel})
        if not travel.cancelled():
            travel.result()

    def _break_off(self) -> None:
        if self._travel is not None:
            self._travel.cancel()

    async def _go(self, opened: bool) -> None:
        await self._write(self.status, MOVING)
        await self._wait()
        await self._arrive(opened)

    def _there(self, opened: bool) -> bool:
        return bool(self.status.value == STATES[opened])

    async def _wait(self) -> None:
        await self.bench.clock.wait(TRAVEL_S)

    async def _arrive(self, opened: bool) -> None:
        """What being there means."""

    async def _write(self, pv: Any, value: Any) -> None:
        if pv.value != value:
            await pv.write(value, verify_value=False)


class Barrier(Blades):
    """Backup shutter; open in normal work."""

    async def _arrive(self, opened: bool) -> None:
        self.bench.barrier_open = opened
        self.bench.light()
        await self._write(self.status, STATES[opened])

    async def begin(self) -> None:
        """Be open."""
        await self.open()


class ShutterGroup(Blades):
    """The shutter.

    Opening without permit, or with an alarm that nobody has reset, is refused: CMD goes back to Close.
    """

    async def _put_open_pulse(self, instance: Any, value: Any) -> None:
        if value:
            self._later(self.open())
        raise SkipWrite

    async def _put_close_pulse(self, instance: Any, value: Any) -> None:
        if value:
            self._later(self.close())
        raise SkipWrite

    async def _put_max_open(self, instance: Any, value: float) -> float:
        take_within(value, low=0, high=math.inf)
        self._max_open_s = float(value)
        self._set_timer()
        return value

    async def _put_reset(self, instance: Any, value: Any) -> None:
        if value:
            await self._write(self.alarm, 0)
        raise SkipWrite

    permit = pvproperty(
        value="Granted", dtype=ENUM, enum_strings=["Denied", "Granted"], name="PERMIT", read_only=True
    )  # fmt: skip
    max_open = pvproperty(value=0.0, name="MAX_OPEN_S", units="s", precision=3, put=_put_max_open)
    timed_out = pvproperty(value=0, name="TIMED_OUT", read_only=True)
    alarm = pvproperty(value=0, name="ALARM", read_only=True)
    reset = pvproperty(value=0, name="RESET", put=_put_reset)
    open_pulse = pvproperty(value=0, name="OPEN_PULSE", put=_put_open_pulse)
    close_pulse = pvproperty(value=0, name="CLOSE_PULSE", put=_put_close_pulse)

    def __init__(self, prefix: str, *, bench: Bench, on_change: Any, **kwargs: Any) -> None:
        super().__init__(prefix, bench=bench, **kwargs)
        self._on_change = on_change
        self._max_open_s = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._opened_at = 0.0
        self._tasks: set[asyncio.Task[None]] = set()

    async def begin(self) -> None:
        """Take over the options."""
        await self.max_open.write(self.bench.options.max_open_s)

    async def open(self) -> None:
        """Open, if it may."""
        if self.permit.value != "Granted" or self.alarm.value:
            await self.command.write("Open", verify_value=False)
            await self.command.write(COMMANDS[self.bench.open.running], verify_value=False)
            return
        await self._move(True)

    async def close(self) -> None:
        """Close; this also forgets that the timer had to."""
        await self._write(self.timed_out, 0)
        await self._move(False)

    async def set_permit(self, granted: bool) -> None:
        """Give or withdraw the permit; without it the shutter closes."""
        await self._write(self.permit, "Granted" if granted else "Denied")
        if not granted:
            await self._move(False)

    async def shut_at_once(self) -> None:
        """Close without delay or fault: the IOC ends."""
        self._break_off()
        await self._become(False)
        await self._write(self.command, "Close")

    async def _wait(self) -> None:
        await super()._wait()
        await asyncio.sleep(self.bench.faults.shutter_delay_s)

    async def _arrive(self, opened: bool) -> None:
        if self.bench.faults.shutter_fail != ("open" if opened else "close"):
            await self._become(opened)
            return
        await self._write(self.status, FAILED)
        if not opened:
            await self._write(self.alarm, 1)

    async def _become(self, opened: bool) -> None:
        if opened and not self.bench.open.running:
            self._opened_at = asyncio.get_running_loop().time()
        self.bench.set_shutter(opened)
        self._set_timer()
        await self._write(self.status, STATES[opened])
        await self._on_change()

    # ------------------------------------------------------------ timer

    def _set_timer(self) -> None:
        """Close when it has been open for too long, in real seconds, whatever the time scale."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if self._max_open_s and self.bench.open.running:
            loop = asyncio.get_running_loop()
            self._timer = loop.call_at(self._opened_at + self._max_open_s, lambda: self._later(self._time_out()))

    async def _time_out(self) -> None:
        await self._write(self.timed_out, 1)
        await self._move(False)
        if self.bench.open.running:  # it failed: again after as long
            self._opened_at = asyncio.get_running_loop().time()
            self._set_timer()

    def _later(self, work: Any) -> None:
        task = asyncio.ensure_future(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


# ---------------------------------------------------------------- source


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

    command = pvproperty(value="On", dtype=ENUM, enum_strings=OFF_ON, name="CMD", put=_put)
    status = pvproperty(value="On", dtype=ENUM, enum_strings=OFF_ON, name="STATUS", read_only=True)
    current = pvproperty(value=0.0, name="CURRENT", units="mA", precision=4, read_only=True, get=_get_current)

    async def begin(self) -> None:
        """Show the current: a client's first monitor is the value that was written last."""
        await self.current.write(self.bench.source_ma())

    def __init__(self, prefix: str, *, bench: Bench, **kwargs: Any) -> None:
        self.bench = bench
        super().__init__(prefix, **kwargs)
