"""Are units, limits and words of enums what the beamline file takes them for?"""

from __future__ import annotations

from typing import Any

import numpy as np

from ..beamline import Beamline
from ..epics.axes import UNIT, Axis, BoundedMotor, BoundedPositioner
from ..epics.signals import enum_label, equals, read_uncached
from .findings import Finding

AXES = ("x", "y")


def axes_of(line: Any) -> dict[str, Axis]:
    """The axes of a beamline by their place in it, those that are connected."""
    motors = {f"stage.{axis}": getattr(line.stage, axis) for axis in AXES}
    if line.object_stage is not None:
        motors["object_stage.motor"] = line.object_stage.motor
    if line.knife is not None:
        motors["knife.motor"] = line.knife.motor
    return {place: motor for place, motor in motors.items() if motor.connected}


def units(line: Any) -> list[Finding]:
    """EGU of the motors, and of the currents where the IOC tells it."""
    found = []
    for place, axis in axes_of(line).items():
        if isinstance(axis, BoundedMotor) and (unit := read_uncached(axis.motor_egu)) != UNIT:
            remedy = f"set {axis.prefix}.EGU to mm, with MRES, limits and velocity in mm"
            found.append(Finding(place, f"{axis.prefix}.EGU is {unit!r}, boards are in mm", remedy))
        elif isinstance(axis, BoundedPositioner) and (unit := axis.reported_unit()) not in (None, UNIT):
            what = f"{axis.readback_pv} is in {unit!r}, boards are in mm"
            found.append(Finding(place, what, "set its EGU, scale and limits to mm"))
    for place, signal, unit in _currents(line.diode):
        told = (signal.metadata or {}).get("units") if signal.connected else None
        if told and told != unit:
            what = f"{signal.pvname} is in {told!r}, the beamline file says {unit!r}"
            found.append(Finding(place, what, f"put unit: {told} there, or set EGU right"))
    return found


def _currents(diode: Any) -> list[tuple[str, Any, str]]:
    """Signals that are currents, and the unit that they are taken to have."""
    signal = next((getattr(diode, a) for a in ("reading", "mean_value", "value") if hasattr(diode, a)), None)
    currents = [] if signal is None else [("diode.unit", signal, diode.unit)]
    if diode.monitor is not None:
        currents.append(("monitor.unit", diode.extra_signals["i0_pv"], diode.monitor.unit))
    return currents


def limits(line: Any) -> list[Finding]:
    """The board, and the object's two places, must lie within the limits of records and file."""
    board = line.board
    tiles = [board.position_mm(tile) for tile in range(board.tile_count)]
    places = np.array([*tiles, *(board.place_mm(place) for place in board.fiducials)])
    found, motors = [], axes_of(line)
    spans = {
        axis: (float(low), float(high)) for axis, low, high in zip(AXES, places.min(0), places.max(0), strict=True)
    }
    for axis, other in (AXES, AXES[::-1]):
        motor = motors.get(f"stage.{axis}")
        if motor is None:
            continue
        outside = _outside(motor, *spans[axis])
        if outside:
            swapped = f"stage.{other}" in motors and not _outside(motor, *spans[other])
            remedy = "widen the limits, or correct the board's alignment"
            hint = f"are x and y swapped? The other axis' tiles would fit; else {remedy}" if swapped else remedy
            low, high = spans[axis]
            found.append(
                Finding(f"stage.{axis}", f"tiles and fiducials lie at {low:.4g} to {high:.4g} mm, {outside}", hint)
            )
    motor = motors.get("object_stage.motor")
    if motor is not None:
        for word in ("in_mm", "out_mm"):
            if outside := _outside(motor, place := getattr(line.object_stage, word), place):
                found.append(Finding(f"object_stage.{word}", f"{place:g} mm: {outside}", "change it, or the limits"))
    return found


def _outside(motor: Axis, low_mm: float, high_mm: float) -> str:
    """Which limits do not contain a span; empty if all do. Equal limits mean none."""
    own = motor.own_limits()
    if own[0] < own[1] and not (own[0] <= low_mm and high_mm <= own[1]):
        return f"limits of {motor.title} are {own[0]:g} to {own[1]:g} mm"
    if motor.limits_mm is not None and not (motor.limits_mm[0] <= low_mm and high_mm <= motor.limits_mm[1]):
        return f"limits_mm of the file are {motor.limits_mm[0]:g} to {motor.limits_mm[1]:g} mm"
    return ""


def words(line: Beamline) -> list[Finding]:
    """Words that an enum does not have, and a shutter that says neither open nor closed."""
    shutter: Any = line.shutter
    found = [
        Finding(
            f"shutter.{key}", f"{signal.pvname} has no word {wanted!r}: {', '.join(signal.enum_strs or ())}", "take one"
        )
        for key, signal, wanted in _words_used(shutter)
        if signal is not None
        and signal.connected
        and isinstance(wanted, str)
        and wanted not in (signal.enum_strs or ())
        and not isinstance(read_uncached(signal), str)
    ]
    if found or not shutter.readback.connected:
        return found
    value = read_uncached(shutter.readback)
    if not any(
        equals(shutter.readback, value, wanted) for wanted in (shutter.pvs.opened_value, shutter.pvs.closed_value)
    ):
        what = f"{shutter.readback.pvname} says {enum_label(shutter.readback, value)}, neither open nor closed"
        remedy = "see the shutter, or correct opened_value and closed_value"
        if isinstance(value, str):
            remedy += ': it is a text, give texts, such as "Open" and "Closed"'
        found.append(Finding("shutter.readback", what, remedy))
    return found


def _words_used(shutter: Any) -> list[tuple[str, Any, Any]]:
    pvs, barrier = shutter.pvs, shutter.barrier
    used = [
        ("opened_value", shutter.readback, pvs.opened_value),
        ("closed_value", shutter.readback, pvs.closed_value),
        ("open_value", shutter.command, pvs.open_value),
        ("close_value", shutter.command, pvs.close_value),
        ("permit_value", shutter.permit, pvs.permit_value),
    ]
    if barrier is not None:
        used += [
            ("second_barrier.close_value", barrier.command, barrier.close_value),
            ("second_barrier.closed_value", barrier.readback, barrier.closed_value),
        ]
    return used


# ---------------------------------------------------------------- states


def states(line: Beamline) -> list[Finding]:
    """What stands in the way of a scan now, or lets light on the sample."""
    shutter: Any = line.shutter
    pvs, barrier = shutter.pvs, shutter.barrier
    found = []
    if _says(shutter.readback, pvs.opened_value):
        found.append(_now("shutter", shutter.readback, "light is on the sample", "close it"))
    if barrier is not None and _says(barrier.readback, barrier.closed_value):
        found.append(_now("shutter.second_barrier", barrier.readback, "there is no beam", "open it by hand"))
    permit = shutter.permit
    if permit is not None and permit.connected and not _says(permit, pvs.permit_value):
        found.append(_now("shutter.permit", permit, "the shutter may not open", "get the permit"))
    return found


def _says(signal: Any, wanted: Any) -> bool:
    return signal.connected and equals(signal, read_uncached(signal), wanted)


def _now(where: str, signal: Any, meaning: str, remedy: str) -> Finding:
    return Finding(
        where, f"{signal.pvname} says {enum_label(signal, read_uncached(signal))}: {meaning}", f"{remedy} before a scan"
    )
