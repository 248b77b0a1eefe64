"""Does a small move of an axis move its readback, by as much, and no other's?"""

from __future__ import annotations

from typing import Any

from ..epics.motors import Axis
from ..epics.signals import fresh, says
from .findings import Finding

STEP_MM = 0.1


def axes_move(line: Any) -> list[Finding]:
    """Move x, then y, by `STEP_MM` and back, with the shutter closed."""
    shutter, stage = line.shutter, line.stage
    if not all(part.connected for part in (shutter.readback, stage.x, stage.y)):
        return [Finding("stage", "axes were not moved", "make shutter and axes answer first")]
    if not says(shutter.readback, fresh(shutter.readback), shutter.pvs.closed_value):
        return [Finding("shutter", "not closed: the axes were not moved", "close the shutter, then check again")]
    axes = {"x": stage.x, "y": stage.y}
    return [finding for axis in axes for finding in _move(axis, axes, stage.in_position_um)]


def _move(name: str, axes: dict[str, Axis], window_um: float) -> list[Finding]:
    axis = axes[name]
    before = {key: _read(motor) for key, motor in axes.items()}
    step = _towards_middle(axis, before[name])
    try:
        axis.move(before[name] + step, wait=False).wait(timeout=axis.timeout)
        after = {key: _read(motor) for key, motor in axes.items()}
        axis.move(before[name], wait=False).wait(timeout=axis.timeout)
    except Exception as error:
        what = f"{axis.title} did not move by {step:g} mm and back ({type(error).__name__}: {error})"
        return [Finding(f"stage.{name}", what, "see the motor: stuck, at a limit switch, or without power")]
    return _judged(name, axes, {key: 1000 * (after[key] - before[key]) for key in axes}, 1000 * step, window_um)


def _judged(
    name: str, axes: dict[str, Axis], moved_um: dict[str, float], step_um: float, window_um: float
) -> list[Finding]:
    """Findings of a move of one axis by `step_um`."""
    found = []
    others = [key for key in axes if key != name and abs(moved_um[key]) > window_um]
    if abs(moved_um[name] - step_um) > window_um:
        what = f"{axes[name].title} was sent {step_um:+.1f} um and its readback moved {moved_um[name]:+.1f} um"
        remedy = "see resolution (MRES, ERES), encoder and lost steps"
        found.append(Finding(f"stage.{name}", what, "are the axes swapped? see cables and PVs" if others else remedy))
    for key in others:
        what = f"its readback moved {moved_um[key]:+.1f} um when stage.{name} was moved ({axes[name].title})"
        found.append(Finding(f"stage.{key}", what, "are the axes swapped, or one PV given for both?"))
    return found


def _read(motor: Axis) -> float:
    return float(fresh(motor.user_readback))


def _towards_middle(axis: Axis, position: float) -> float:
    """A step that stays within the limits."""
    low, high = axis.own_limits()
    if axis.limits_mm is not None:
        low, high = axis.limits_mm
    return -STEP_MM if low < high and position > (low + high) / 2 else STEP_MM
