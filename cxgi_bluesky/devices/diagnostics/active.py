"""Checks that move axes a little, or expose once, with the shutter closed."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ophyd.utils import LimitError

from ..epics.axes import Axis
from ..epics.diode import EpicsDiode
from ..epics.shutter import EpicsShutter
from ..epics.signals import equals, read_uncached
from ..stage import AxesStage
from .own import is_closed, try_own_exposure
from .passive import NO_STAMP, STAMP_REMEDY, Finding, list_signals_after_exposure

STEP_MM = 0.1


def check_moves(line: Any) -> list[Finding]:
    """Move x, then y, by `STEP_MM` and back, with the shutter closed."""
    stage = line.stage
    if not isinstance(stage, AxesStage):
        return [Finding("stage", "a stage of a class of its own is not moved by a check", "move it by hand")]
    if not all(axis.connected for axis in stage.axes):
        return [Finding("stage", "axes were not moved", "make the axes answer first")]
    if open_shutter := _find_open(line.shutter, "the axes were not moved"):
        return open_shutter
    axes = {"x": stage.x, "y": stage.y}
    tried = [_move(axis, axes) for axis in axes]
    if all(isinstance(move, Move) and move.is_of_the_other(stage.in_position_um) for move in tried):
        return [_find_swapped(axes)]
    return [
        finding
        for move in tried
        for finding in ([move] if isinstance(move, Finding) else _find_faults(move, axes, stage.in_position_um))
    ]


def _find_open(shutter: Any, consequence: str) -> list[Finding]:
    """Findings unless a shutter is closed for certain."""
    closed: bool | None
    if isinstance(shutter, EpicsShutter):
        if not shutter.readback.connected:
            return [Finding("shutter", f"it does not answer: {consequence}", "make the shutter answer first")]
        closed = equals(shutter.readback, read_uncached(shutter.readback), shutter.pvs.closed_value)
    else:
        closed = is_closed(shutter)
    if closed is None:
        return [Finding("shutter", f"it has no state to see whether it is closed: {consequence}", "give it a state")]
    if not closed:
        return [Finding("shutter", f"not closed: {consequence}", "close the shutter, then check again")]
    return []


@dataclass(frozen=True)
class Move:
    """A small move of one axis (um), and how far each axis' readback went."""

    axis: str
    step_um: float
    moved_um: dict[str, float]

    def is_of_the_other(self, window_um: float) -> bool:
        """Whether the other axis went as far as this one should, and this one stayed."""
        (other,) = (self.moved_um[key] for key in self.moved_um if key != self.axis)
        return abs(self.moved_um[self.axis]) <= window_um and abs(abs(other) - abs(self.step_um)) <= window_um


def _move(name: str, axes: dict[str, Any]) -> Move | Finding:
    """Move an axis and put it back."""
    axis = axes[name]
    before = {key: _read(motor) for key, motor in axes.items()}
    step = _towards_middle(axis, before[name])
    try:
        axis.move(before[name] + step, wait=False).wait(timeout=axis.timeout)
        after = {key: _read(motor) for key, motor in axes.items()}
        axis.move(before[name], wait=False).wait(timeout=axis.timeout)
    except Exception as error:
        what = f"{axis.title} did not move by {step:g} mm and back ({type(error).__name__}: {error})"
        return Finding(f"stage.{name}", what, "see the motor: stuck, at a limit switch, or without power")
    return Move(name, 1000 * step, {key: 1000 * (after[key] - before[key]) for key in axes})


def _find_swapped(axes: dict[str, Any]) -> Finding:
    x, y = axes["x"].title, axes["y"].title
    return Finding(
        "stage", f"moves of {x} (x) move {y} (y), and those of y move x", "x and y are swapped: see the motors' cables"
    )


def _find_faults(move: Move, axes: dict[str, Any], window_um: float) -> list[Finding]:
    """Findings of a move."""
    name, step_um, moved_um, found = move.axis, move.step_um, move.moved_um, []
    others = [key for key in axes if key != name and abs(moved_um[key]) > window_um]
    if abs(moved_um[name] - step_um) > window_um:
        what = f"{axes[name].title} was sent {step_um:+.1f} um and its readback moved {moved_um[name]:+.1f} um"
        remedy = "see resolution (MRES, ERES), encoder and lost steps"
        found.append(Finding(f"stage.{name}", what, "are the axes swapped? see cables and PVs" if others else remedy))
    for key in others:
        what = f"its readback moved {moved_um[key]:+.1f} um when stage.{name} was moved ({axes[name].title})"
        found.append(Finding(f"stage.{key}", what, "are the axes swapped, or one PV given for both?"))
    return found


def _read(motor: Any) -> float:
    return float(read_uncached(motor.user_readback)) if isinstance(motor, Axis) else float(motor.position)


def _towards_middle(axis: Any, position: float) -> float:
    """A step that stays within the limits."""
    if not isinstance(axis, Axis):
        try:
            axis.check_value(position + STEP_MM)
        except (LimitError, ValueError):
            return -STEP_MM
        return STEP_MM
    low, high = axis.own_limits()
    if axis.limits_mm is not None:
        low, high = axis.limits_mm
    return -STEP_MM if low < high and position > (low + high) / 2 else STEP_MM


# ---------------------------------------------------------------- an exposure


_MARGIN_S = 40.0
OWN_EXPOSURE_S = 1.0  # of a detector with a class of its own


@dataclass(frozen=True)
class Exposed:
    """An exposure that was tried: its time, and how much later than its end the values came (s)."""

    exposure_s: float
    late_s: float

    def __str__(self) -> str:
        came = f"values {1000 * self.late_s:.0f} ms after its end" if self.late_s else "values there at its end"
        return f"one exposure of {self.exposure_s:g} s with the shutter closed, {came}"


def try_exposure(line: Any) -> tuple[list[Finding], Exposed | None]:
    """Try one exposure with the shutter closed: do the values come, of that exposure, and how late?"""
    diode = line.diode
    if not all(signal.connected for _, signal in list_signals_after_exposure(diode)):
        return [Finding("diode", "no exposure was tried", "make the detector answer first")], None
    if open_shutter := _find_open(line.shutter, "no exposure was tried"):
        return open_shutter, None
    if not isinstance(diode, EpicsDiode):
        found = try_own_exposure(diode, OWN_EXPOSURE_S, OWN_EXPOSURE_S + _MARGIN_S)
        return found, None if found else Exposed(OWN_EXPOSURE_S, 0.0)
    exposure_s = float(diode.exposure_s.get())
    try:
        diode.stage()
        diode.trigger().wait(timeout=exposure_s + _MARGIN_S)
        return _find_late_or_bad(diode), Exposed(exposure_s, diode.arrivals.waited_s)
    except Exception as error:
        what = f"an exposure of {exposure_s:g} s has failed ({type(error).__name__}: {error})"
        return [Finding("diode", what, "see the detector and its PVs")], None
    finally:
        diode.unstage()


def _find_late_or_bad(diode: EpicsDiode) -> list[Finding]:
    if diode.fault:
        remedy = "raise late_s, let the acquisition wait for it (WaitForPlugins), or correct the PV"
        return [Finding("diode", diode.fault, remedy)]
    found = [
        Finding("diode", f"{pv} has no time stamp: {NO_STAMP}", STAMP_REMEDY) for pv in diode.arrivals.without_stamps
    ]
    if not math.isfinite(diode.current.get()):
        found.append(Finding("diode", "an exposure in the dark is an overload or no number", "see range and input"))
    return found
