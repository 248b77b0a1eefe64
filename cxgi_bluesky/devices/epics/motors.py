"""Motor records in mm with limits of the beamline file, and moves of axes that are checked when they have ended."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence
from typing import Any

from ophyd import Component, EpicsMotor, EpicsSignal, Kind
from ophyd.status import StatusBase

from ...errors import CxgiError
from ..configuration import Configured
from ..naming import Named
from ..position import NotArrivedError, PositionError
from .background import in_background
from .positioners import UNIT, BoundedPositioner, check_within, described_in_mm
from .signals import fresh, fresh_together, put_noting, wait_for_record

_MARGIN_S = 10.0  # for what is asked of the IOC after the move


class BoundedMotor(Named, Configured, EpicsMotor):
    """A motor record in mm that also keeps the limits of the beamline file.

    Attributes
    ----------
    limits_mm : (float, float), optional
        Beside the record's own.
    """

    user_setpoint = Component(EpicsSignal, ".VAL", limits=True, auto_monitor=True, kind=Kind.omitted)

    kind_labels = frozenset({"motors"})
    limits_mm: tuple[float, float] | None = None

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.user_readback.kind = Kind.normal  # what one wants to see is the tile

    @property
    def title(self) -> str:
        """What people know it by."""
        return self.prefix

    @property
    def done_signals(self) -> tuple[Any, ...]:
        """Signals that are true when it does not move."""
        return (self.motor_done_move,)

    def own_limits(self) -> tuple[float, float]:
        """Limits of the record; equal ones mean none."""
        return float(fresh(self.low_limit_travel)), float(fresh(self.high_limit_travel))

    def check_value(self, pos: float) -> None:
        """Raise `LimitError` beyond either limits, `ValueError` for what is no position."""
        check_within(self.name, pos, self.limits_mm)
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
        keys[self.user_readback.name] = described_in_mm(keys[self.user_readback.name], self.precision or 0)
        return keys


Axis = BoundedMotor | BoundedPositioner


def set_bounds(axis: Axis, limits_mm: tuple[float, float] | None, settle_s: float, move_timeout_s: float) -> None:
    """What the beamline file says of an axis: limits beside its own, a wait after each move, its longest move."""
    axis.limits_mm, axis.settle_time, axis.timeout = limits_mm, settle_s, move_timeout_s


def move_together(
    device: Any, axes: Sequence[Axis], wanted_mm: Sequence[float], *, window_um: float, timeout_s: float
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
    ends = [threading.Event() for _ in axes]
    for axis, wanted, end in zip(axes, wanted_mm, ends, strict=True):
        put_noting(axis.user_setpoint, wanted, end)  # here, not in the background: a stop that follows comes after it

    def arrive() -> None:
        _wait_for_ends(axes, wanted_mm, ends, window_um, timeout_s)
        time.sleep(settle_s)
        _check_window(axes, wanted_mm, _places_at_rest(axes, timeout_s), window_um)

    return in_background(device, arrive, timeout_s + settle_s + _MARGIN_S)


def _wait_for_ends(
    axes: Sequence[Axis],
    wanted_mm: Sequence[float],
    ends: Sequence[threading.Event],
    window_um: float,
    timeout_s: float,
) -> None:
    deadline = time.monotonic() + timeout_s
    for axis, wanted, end in zip(axes, wanted_mm, ends, strict=True):
        try:
            wait_for_record(axis.user_setpoint, wanted, end, max(deadline - time.monotonic(), 0.0))
        except TimeoutError as error:
            _stop(axes)
            raise NotArrivedError(
                f"{axis.name} was sent to {wanted:.4f} mm and has not arrived within {timeout_s:g} s ({error}); it "
                f"reads {_position(axis)} mm (window {window_um:g} um): check the axis"
            ) from error


def _stop(axes: Sequence[Axis]) -> None:
    """One axis has failed: none need go on."""
    for axis in axes:
        if axis.connected:
            axis.stop(success=False)


def _position(axis: Axis) -> str:
    try:
        return f"{fresh(axis.user_readback):.4f}"
    except Exception:  # the IOC is gone: the place is not known
        return "unknown"


def _places_at_rest(axes: Sequence[Axis], timeout_s: float) -> list[float]:
    """Readbacks, asked of the IOC once the axes say that they do not move: another client may move them too."""
    deadline = time.monotonic() + timeout_s
    done = [signal for axis in axes for signal in axis.done_signals]
    while True:
        told = fresh_together(*done, *(axis.user_readback for axis in axes))
        if all(told[: len(done)]):
            return [float(place) for place in told[len(done) :]]
        if time.monotonic() > deadline:
            names = ", ".join(axis.title for axis in axes)
            raise NotArrivedError(f"{names}: still moving {timeout_s:g} s after the move was said to have ended")
        time.sleep(0.02)


def _check_window(axes: Sequence[Axis], wanted_mm: Sequence[float], found: Sequence[float], window_um: float) -> None:
    """Raise `PositionError` unless the places found are within the window."""
    off_um = [1000 * (there - wanted) for there, wanted in zip(found, wanted_mm, strict=True)]
    if math.hypot(*off_um) <= window_um:
        return
    worst = max(range(len(axes)), key=lambda place: abs(off_um[place]))
    raise PositionError(
        f"{axes[worst].name} was sent to {wanted_mm[worst]:.4f} mm and reads {found[worst]:.4f} mm, "
        f"{off_um[worst]:+.1f} um off (window {window_um:g} um): check the axis for lost steps, then move again"
    )


def end_pseudo_move(device: Any, ended: StatusBase, status: StatusBase) -> None:
    """End a pseudo axis' own status, which knows no error but "failed" unless it is told."""
    error = ended.exception(timeout=0)
    if status.done:
        return  # stopped, or replaced by a newer move
    if error is None:
        device._done_moving(success=True)
    else:
        status.set_exception(error if isinstance(error, PositionError) else PositionError(str(error)))
        device._reset_sub(device._SUB_REQ_DONE)
