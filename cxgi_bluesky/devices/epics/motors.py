"""Motor records in mm with limits of the beamline file, and moves that are checked when they have ended."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence
from typing import Any

from ophyd import Component, EpicsMotor, EpicsSignal, Kind
from ophyd.status import Status, StatusBase
from ophyd.utils import LimitError

from ...errors import CxgiError
from ..position import NotArrivedError, PositionError
from .signals import fail, finish, fresh

UNIT = "mm"
_MONITOR_S = 2.0  # within which the last readback must have come by itself


class BoundedMotor(EpicsMotor):
    """A motor record in mm that also keeps the limits of the beamline file.

    Attributes
    ----------
    limits_mm : (float, float), optional
        Beside the record's own.
    """

    user_setpoint = Component(EpicsSignal, ".VAL", limits=True, auto_monitor=True, kind=Kind.omitted)

    limits_mm: tuple[float, float] | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        kwargs.setdefault("labels", {"motors"})
        super().__init__(*args, **kwargs)
        self.user_readback.kind = Kind.normal  # what one wants to see is the tile

    def check_value(self, pos: float) -> None:
        """Raise `LimitError` beyond either limits, `ValueError` for what is no position."""
        if not math.isfinite(pos):
            raise ValueError(f"{self.name}: {pos} mm is no position")
        if self.limits_mm is not None and not self.limits_mm[0] <= pos <= self.limits_mm[1]:
            raise LimitError(f"{self.name}: {pos:g} mm is outside {self.limits_mm} mm of the beamline file")
        super().check_value(pos)

    @property
    def position(self) -> Any:
        """The last readback that the IOC has told, the one that events store; None before there is one."""
        return self.user_readback.get() if self.user_readback.connected else self._position

    def check_unit(self) -> None:
        """Raise `CxgiError` unless the record counts in mm."""
        unit = fresh(self.motor_egu)
        if unit != UNIT:
            raise CxgiError(f"{self.prefix}.EGU says {unit!r}: positions of boards are in mm, set the record to mm")

    def describe(self) -> dict[str, Any]:
        """Description with unit, type and a precision that shows less than a um."""
        keys = super().describe()
        key = keys[self.user_readback.name]
        key |= {"dtype": "number", "dtype_numpy": "<f8", "units": UNIT, "precision": max(self.precision or 0, 4)}
        return keys


def move_together(
    device: Any, axes: Sequence[BoundedMotor], wanted_mm: Sequence[float], *, window_um: float, timeout_s: float
) -> StatusBase:
    """Move axes at the same time; the status ends when all are in the window, read back after they have settled.

    Parameters
    ----------
    device : Device
        Whose move it is, for messages.
    axes, wanted_mm : sequences
    window_um : float
        Largest distance from the place wanted, over all axes.
    timeout_s : float
        For the whole move.

    Returns
    -------
    StatusBase
        It fails with a `PositionError` that names axis, wanted, found and window.
    """
    status = Status(obj=device, timeout=timeout_s + 2 * _MONITOR_S + max(axis.settle_time for axis in axes))
    moves = [axis.move(value, wait=False, timeout=timeout_s) for axis, value in zip(axes, wanted_mm, strict=True)]
    waiting, counting = list(moves), threading.Lock()

    def one_ended(ended: StatusBase) -> None:
        with counting:
            waiting.remove(ended)
            last = not waiting
        if ended.exception(timeout=0) is not None:
            _stop_others(axes, moves)
        if last:
            _end(status, axes, wanted_mm, moves, window_um)

    for move in moves:
        move.add_callback(one_ended)
    return status


def _stop_others(axes: Sequence[BoundedMotor], moves: Sequence[StatusBase]) -> None:
    """One axis has failed: the others need not go on."""
    for axis, move in zip(axes, moves, strict=True):
        if not move.done and axis.connected:
            axis.stop(success=False)


def _end(
    status: StatusBase,
    axes: Sequence[BoundedMotor],
    wanted_mm: Sequence[float],
    moves: Sequence[StatusBase],
    window_um: float,
) -> None:
    try:
        for axis, wanted, move in zip(axes, wanted_mm, moves, strict=True):
            error = move.exception(timeout=0)
            if error is not None:
                raise NotArrivedError(
                    f"{axis.name} was sent to {wanted:.4f} mm and has not arrived ({type(error).__name__}); it reads "
                    f"{_position(axis)} mm (window {window_um:g} um): check the axis"
                ) from error
        _wait_until_done(axes, float(status.timeout))
        _check_window(axes, wanted_mm, window_um)
        _wait_for_monitors(axes, wanted_mm, window_um)
    except Exception as error:
        fail(status, error)
    else:
        finish(status)


def _position(axis: BoundedMotor) -> str:
    try:
        return f"{fresh(axis.user_readback):.4f}"
    except Exception:  # the IOC is gone: the place is not known
        return "unknown"


def _wait_until_done(axes: Sequence[BoundedMotor], timeout_s: float) -> None:
    """Until the records say so now: ophyd takes the end of another client's move just before for that of its own."""
    deadline = time.monotonic() + timeout_s
    while not all(fresh(axis.motor_done_move) for axis in axes):
        if time.monotonic() > deadline:
            names = ", ".join(axis.prefix for axis in axes)
            raise NotArrivedError(f"{names}: still moving {timeout_s:g} s after the move was said to have ended")
        time.sleep(0.02)


def _check_window(axes: Sequence[BoundedMotor], wanted_mm: Sequence[float], window_um: float) -> None:
    """Raise `PositionError` unless the place, asked of the IOC now, is within the window."""
    found = [float(fresh(axis.user_readback)) for axis in axes]
    off_um = [1000 * (there - wanted) for there, wanted in zip(found, wanted_mm, strict=True)]
    if math.hypot(*off_um) <= window_um:
        return
    worst = max(range(len(axes)), key=lambda place: abs(off_um[place]))
    raise PositionError(
        f"{axes[worst].name} was sent to {wanted_mm[worst]:.4f} mm and reads {found[worst]:.4f} mm, "
        f"{off_um[worst]:+.1f} um off (window {window_um:g} um): check the axis for lost steps, then move again"
    )


def _wait_for_monitors(axes: Sequence[BoundedMotor], wanted_mm: Sequence[float], window_um: float) -> None:
    """Until the positions that are stored in events are the ones that were just read."""
    deadline = time.monotonic() + _MONITOR_S
    while math.hypot(*(1000 * (axis.position - w) for axis, w in zip(axes, wanted_mm, strict=True))) > window_um:
        if time.monotonic() > deadline:
            names = ", ".join(axis.user_readback.pvname for axis in axes)
            raise PositionError(f"{names}: no update has come within {_MONITOR_S:g} s, although the axes have moved")
        time.sleep(0.002)
