"""Motor record over an `Axis`: the fields that ophyd's EpicsMotor and a motor screen use.

A put to VAL completes when the motor has stopped, as in the real record. RBV is the encoder's; what was lost on the
way (`Axis.slip`) it does not see.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from caproto import SkipWrite
from caproto.server import PVGroup, pvproperty
from caproto.server.server import PvpropertyDouble

from .axis import MIN_RAMP_S, Axis, Ramp
from .beamline import ABOVE_0, Bench, take_within

TICK_S = 0.02  # real time between readbacks of a moving motor
STEP_MM = 1e-5
PRECISION = 5


class Setpoint(PvpropertyDouble):
    """VAL: the record itself checks the limits, as a put beyond them is no error of Channel Access."""

    async def verify_value(self, value: Any) -> Any:
        """Hand the value to the record."""
        return await self.putter(self, value)


async def _stop(fields: Any, instance: Any, value: Any) -> None:
    if value:
        await fields.parent.group.stop()
    raise SkipWrite


async def _home(fields: Any, instance: Any, value: Any) -> None:
    if value:
        await fields.parent.group.home()
    raise SkipWrite


async def _velocity(fields: Any, instance: Any, value: float) -> float:
    take_within(value, ABOVE_0)
    fields.parent.group.axis.velocity = value
    return value


async def _ramp(fields: Any, instance: Any, value: float) -> float:
    take_within(value, 0)
    fields.parent.group.axis.ramp_s = value if value >= MIN_RAMP_S else 0.0
    return value


def _limit(side: str) -> Callable[..., Any]:
    """Putter of the axis' `low` or `high`."""

    async def put(fields: Any, instance: Any, value: float) -> float:
        take_within(value)
        setattr(fields.parent.group.axis, side, value)
        await fields.parent.group.publish_limits()
        return value

    return put


class MotorGroup(PVGroup):
    """One motor record.

    Parameters
    ----------
    prefix : str
        The record's name.
    bench : Bench
    axis : Axis
    records : dict of str to MotorGroup
        All motor records by their axes' names; this one adds itself.
    """

    async def _put(self, instance: Any, value: float) -> None:
        await self.move(float(value))
        raise SkipWrite

    motor = pvproperty(value=0.0, name="", record="motor", dtype=Setpoint, precision=PRECISION, units="mm", put=_put)
    motor.fields.stop.putter(_stop)
    motor.fields.home_forward.putter(_home)
    motor.fields.home_reverse.putter(_home)
    motor.fields.velocity.putter(_velocity)
    motor.fields.seconds_to_velocity.putter(_ramp)
    motor.fields.user_high_limit.putter(_limit("high"))
    motor.fields.user_low_limit.putter(_limit("low"))

    def __init__(self, prefix: str, *, bench: Bench, axis: Axis, records: dict[str, MotorGroup], **kwargs: Any) -> None:
        self.bench, self.axis = bench, axis
        self._records = records
        records[axis.name] = self
        self._commands = 0
        super().__init__(prefix, **kwargs)

    @property
    def _fields(self) -> Any:
        return self.motor.field_inst

    async def begin(self) -> None:
        """Show limits, speed and position."""
        fields, axis = self._fields, self.axis
        await fields.velocity.write(axis.velocity, verify_value=False)
        await fields.seconds_to_velocity.write(axis.ramp_s, verify_value=False)
        await fields.engineering_units.write("mm")
        await fields.motor_step_size.write(STEP_MM)
        await fields.user_high_limit.write(axis.high, verify_value=False)
        await fields.user_low_limit.write(axis.low, verify_value=False)
        for field in (fields.user_readback_value, fields.dial_readback_value):
            await field.write_metadata(precision=PRECISION, units="mm")
        await self.publish_limits()
        await self.publish_position()
        await self._publish_target(axis.position)

    async def move(self, target: float) -> None:
        """Go to a position; returns when the motor is there, or when another command has taken over."""
        if not self.axis.allows(target):
            await self._fields.limit_violation.write(1)
            await self._publish_target(self.motor.value)
            return
        await self._fields.limit_violation.write(0)
        self._commands += 1
        previous = self.motor.value
        await self._publish_target(target)
        axis, end = self.bench.begin_move(self.axis, target, previous=previous)
        await self._publish_moving(True, upwards=target >= self.axis.position)
        moved = self._records[axis.name]
        if await self._travel(moved, end, self._commands):
            axis.put(end, arrived=True)
            await moved.publish_position()
            await self._end()

    async def stop(self) -> None:
        """Stay where it is; VAL follows."""
        self._commands += 1
        if self._fields.motor_is_moving.value:
            await self._publish_target(self.axis.position)
            await self._end()

    async def home(self) -> None:
        """Go to 0 by the home switch, where lost steps are found again."""
        await self.move(min(max(0.0, self.axis.low), self.axis.high))
        self.axis.slip = 0.0
        self.axis.put(self.axis.position, arrived=True)

    async def publish_limits(self) -> None:
        """Limits as clients see them, in VAL's and RBV's own metadata."""
        limits = {"lower_ctrl_limit": self.axis.low, "upper_ctrl_limit": self.axis.high}
        display = {"lower_disp_limit": self.axis.low, "upper_disp_limit": self.axis.high}
        await self.motor.write_metadata(**limits, **display)
        await self._fields.dial_high_limit.write(self.axis.high)
        await self._fields.dial_low_limit.write(self.axis.low)

    async def _travel(self, moved: MotorGroup, end: float, command: int) -> bool:
        """Bring a record's axis to its end; False if another command came in between."""
        clock, faults, axis = self.bench.clock, self.bench.faults, moved.axis
        start, begun = axis.position, clock.now()
        ramp = Ramp(abs(end - start), axis.velocity, axis.ramp_s)
        while True:
            if faults.stuck:
                start = axis.position
                ramp, begun = Ramp(abs(end - start), axis.velocity, axis.ramp_s), clock.now()
            elif not clock.scale or clock.now() - begun >= ramp.seconds:
                return command == self._commands
            else:
                gone = ramp.travel(clock.now() - begun)
                axis.put(start + (gone if end > start else -gone), arrived=False)
                await moved.publish_position()
            left_s = (ramp.seconds - (clock.now() - begun)) * clock.scale
            await asyncio.sleep(TICK_S if faults.stuck else min(TICK_S, max(left_s, 0.0)))
            if command != self._commands:
                return False

    async def _end(self) -> None:
        await self.publish_position()
        await self._publish_moving(False)

    async def _publish_target(self, target: float) -> None:
        await self.motor.write(target, verify_value=False, update_fields=False)
        await self._fields.dial_desired_value.write(target)

    async def publish_position(self) -> None:
        """Show the reading of the encoder."""
        readback = self.axis.readback()
        await self._fields.user_readback_value.write(readback)
        await self._fields.dial_readback_value.write(readback)
        await self._fields.raw_readback_value.write(round(readback / STEP_MM))

    async def _publish_moving(self, moving: bool, *, upwards: bool | None = None) -> None:
        if upwards is not None:
            await self._fields.direction_of_travel.write(int(upwards))
        await self._fields.motor_is_moving.write(int(moving))
        await self._fields.done_moving_to_value.write(int(not moving))
