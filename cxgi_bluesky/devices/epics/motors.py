"""Motor records in mm with limits of the beamline file, and moves that are checked when they have ended."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence
from typing import Any

from ophyd import Component, EpicsMotor, EpicsSignal, Kind
from ophyd.status import StatusBase
from ophyd.utils import LimitError

from ...errors import CxgiError
from ..position import NotArrivedError, PositionError
from .signals import ask_for, fresh, in_background, put_noting, wait_for_record

UNIT = "mm"
_MARGIN_S = 10.0  # for what is asked of the IOC after the move


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

    The end of a move is the completion of the put to VAL, which a motor record gives after backlash and retries. It
    comes sooner, and with less traffic, than DMOV's going to 0 and back.

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

    Raises
    ------
    LimitError, ValueError
        Before anything moves, for a place beyond the limits, or what is none.
    """
    for axis, wanted in zip(axes, wanted_mm, strict=True):
        axis.check_value(wanted)
    settle_s = max(axis.settle_time for axis in axes)
    return in_background(
        device, lambda: _move(axes, wanted_mm, window_um, timeout_s, settle_s), timeout_s + settle_s + _MARGIN_S
    )


def _move(
    axes: Sequence[BoundedMotor], wanted_mm: Sequence[float], window_um: float, timeout_s: float, settle_s: float
) -> None:
    deadline = time.monotonic() + timeout_s
    ends = [threading.Event() for _ in axes]
    for axis, wanted, end in zip(axes, wanted_mm, ends, strict=True):
        put_noting(axis.user_setpoint, wanted, end)
    for axis, wanted, end in zip(axes, wanted_mm, ends, strict=True):
        try:
            wait_for_record(axis.user_setpoint, wanted, end, max(deadline - time.monotonic(), 0.0))
        except TimeoutError as error:
            _stop(axes)
            raise NotArrivedError(
                f"{axis.name} was sent to {wanted:.4f} mm and has not arrived within {timeout_s:g} s ({error}); it "
                f"reads {_position(axis)} mm (window {window_um:g} um): check the axis"
            ) from error
    time.sleep(settle_s)
    _wait_until_done(axes, timeout_s)
    _check_window(axes, wanted_mm, window_um)


def _stop(axes: Sequence[BoundedMotor]) -> None:
    """One axis has failed: none need go on."""
    for axis in axes:
        if axis.connected:
            axis.stop(success=False)


def _position(axis: BoundedMotor) -> str:
    try:
        return f"{fresh(axis.user_readback):.4f}"
    except Exception:  # the IOC is gone: the place is not known
        return "unknown"


def _wait_until_done(axes: Sequence[BoundedMotor], timeout_s: float) -> None:
    """Until the records say so: another client may move them too."""
    deadline = time.monotonic() + timeout_s
    while True:
        ask_for(*(axis.motor_done_move for axis in axes), *(axis.user_readback for axis in axes))
        if all(fresh(axis.motor_done_move) for axis in axes):
            return
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
