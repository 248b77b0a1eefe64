"""Motor records in mm with limits of the beamline file, and moves of axes that are checked when they have ended."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ophyd import Component, EpicsMotor, EpicsSignal, EpicsSignalRO, FormattedComponent, Kind, PVPositionerPC
from ophyd.status import StatusBase
from ophyd.utils import LimitError

from ...errors import ScanError
from ..base import Configured, Named, Settings
from ..stage import NotArrivedError, PositionError
from .signals import Timeouts, give_timeouts, put_with_callback, read_uncached, read_uncached_together, wait_for_record
from .status import in_background

UNIT = "mm"


@dataclass(frozen=True)
class AxisPvs:
    """PVs of an axis without a motor record, in mm: set with put-completion, read back, and stop it (with a 1)."""

    setpoint: str
    readback: str
    stop: str | None = None


def check_within(name: str, position_mm: float, limits_mm: tuple[float, float] | None) -> None:
    """Raise `ValueError` for what is no position, `LimitError` beyond limits of the beamline file.

    Parameters
    ----------
    name : str
        Of the axis, for the message.
    position_mm : float
        Position (mm).
    limits_mm : (float, float) or None
        Lowest and highest position (mm); None: no limits.
    """
    if not math.isfinite(position_mm):
        raise ValueError(f"{name}: {position_mm} mm is no position")
    if limits_mm is not None and not limits_mm[0] <= position_mm <= limits_mm[1]:
        raise LimitError(f"{name}: {position_mm:g} mm is outside {limits_mm} mm of the beamline file")


def describe_in_mm(key: dict[str, Any], precision: int) -> dict[str, Any]:
    """Description of a position with unit, type and a precision that shows less than a um.

    Parameters
    ----------
    key : dict
        Description by ophyd; it is not changed.
    precision : int
        Decimals that the IOC gives; 4 at least are given.
    """
    return {**key, "dtype": "number", "dtype_numpy": "<f8", "units": UNIT, "precision": max(precision, 4)}


class BoundedPositioner(Named, Configured, PVPositionerPC):
    """An axis of a controller that has no motor record, such as a piezo stage, within limits of the beamline file.

    It updates less often than a motor record, so that a move over Channel Access takes a third of the time.

    Parameters
    ----------
    setpoint_pv, readback_pv : str
        In mm.
    stop_pv : str
        Gets a 1; empty: it cannot be stopped.

    Attributes
    ----------
    limits_mm : (float, float), optional
        Beside those that the setpoint itself has.
    """

    setpoint = FormattedComponent(EpicsSignal, "{self.setpoint_pv}", auto_monitor=False, kind=Kind.omitted)
    readback = FormattedComponent(EpicsSignalRO, "{self.readback_pv}", auto_monitor=True, kind=Kind.normal)
    kind_labels = frozenset({"motors"})
    limits_mm: tuple[float, float] | None = None

    def __init__(self, prefix: str = "", *, setpoint_pv: str, readback_pv: str, stop_pv: str, **kwargs: Any) -> None:
        self.setpoint_pv, self.readback_pv = setpoint_pv, readback_pv
        super().__init__(prefix, egu=UNIT, **kwargs)
        self.readback.name = self.name  # as motors are named in events
        self.extra_signals: dict[str, Any] = {}
        if stop_pv:
            self.stop_signal = EpicsSignal(stop_pv, name=f"{self.name}_stop")
            self.extra_signals["stop"] = self.stop_signal
        give_timeouts(self, Timeouts())

    def settings(self) -> Settings:
        """Which PV is set."""
        return {"setpoint_pv": (self.setpoint_pv, "")}

    @property
    def title(self) -> str:
        """Name by which people know it."""
        return self.setpoint_pv

    @property
    def user_setpoint(self) -> Any:
        """The signal that is set, by the name that a motor gives it."""
        return self.setpoint

    @property
    def user_readback(self) -> Any:
        """The signal that is read back, by the name that a motor gives it."""
        return self.readback

    @property
    def done_signals(self) -> tuple[Any, ...]:
        """Signals that show whether it moves: none, completion is all that there is."""
        return ()

    @property
    def position(self) -> Any:
        """The last readback that the IOC has sent."""
        return self.readback.get() if self.readback.connected else self._position

    def own_limits(self) -> tuple[float, float]:
        """Limits of the setpoint; equal ones mean none."""
        low, high = self.setpoint.limits
        return float(low or 0.0), float(high or 0.0)

    def check_value(self, pos: float) -> None:
        """Raise `LimitError` beyond either limits, `ValueError` for what is no position."""
        check_within(self.name, pos, self.limits_mm)
        low, high = self.own_limits()
        if low < high and not low <= pos <= high:
            raise LimitError(
                f"{self.name}: {pos:g} mm is outside the limits of {self.setpoint_pv}, {low:g} to {high:g}"
            )

    def read_unit(self) -> str | None:
        """Unit of the readback, None if the IOC does not give it."""
        return (self.readback.metadata or {}).get("units") or None

    def check_unit(self) -> None:
        """Raise `CxgiError` if the readback has another unit than mm."""
        if (unit := self.read_unit()) not in (None, UNIT):
            raise ScanError(f"{self.readback_pv} is in {unit!r}: positions of boards are in mm, set it to mm")

    def describe(self) -> dict[str, Any]:
        """Description with unit, type and precision."""
        keys = super().describe()
        keys[self.readback.name] = describe_in_mm(keys[self.readback.name], 4)
        return keys

    def destroy(self) -> None:
        """Let go of all PVs."""
        for signal in self.extra_signals.values():
            signal.destroy()
        super().destroy()


# ---------------------------------------------------------------- motors


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
        """Name by which people know it."""
        return self.prefix

    @property
    def done_signals(self) -> tuple[Any, ...]:
        """Signals that are true when it does not move."""
        return (self.motor_done_move,)

    def own_limits(self) -> tuple[float, float]:
        """Limits of the record; equal ones mean none."""
        return float(read_uncached(self.low_limit_travel)), float(read_uncached(self.high_limit_travel))

    def check_value(self, pos: float) -> None:
        """Raise `LimitError` beyond either limits, `ValueError` for what is no position."""
        check_within(self.name, pos, self.limits_mm)
        super().check_value(pos)

    @property
    def position(self) -> Any:
        """The last readback that the IOC has sent, the one that events store; None before there is one."""
        return self.user_readback.get() if self.user_readback.connected else self._position

    def check_unit(self) -> None:
        """Raise `CxgiError` unless the record counts in mm."""
        unit = read_uncached(self.motor_egu)
        if unit != UNIT:
            raise ScanError(f"{self.prefix}.EGU says {unit!r}: positions of boards are in mm, set the record to mm")

    def describe(self) -> dict[str, Any]:
        """Description with unit, type and a precision that shows less than a um."""
        keys = super().describe()
        keys[self.user_readback.name] = describe_in_mm(keys[self.user_readback.name], self.precision or 0)
        return keys


Axis = BoundedMotor | BoundedPositioner


def set_bounds(axis: Axis, limits_mm: tuple[float, float] | None, settle_s: float, move_timeout_s: float) -> None:
    """Give an axis what the beamline file has: limits beside its own, a wait after each move, its longest move.

    Parameters
    ----------
    axis : BoundedMotor or BoundedPositioner
    limits_mm : (float, float) or None
        Lowest and highest position (mm); None: no other limits than its own.
    settle_s : float
        Wait after each move (s).
    move_timeout_s : float
        Longest time of a move (s).
    """
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
        Largest distance from the position wanted, over all axes.
    timeout_s : float
        For the whole move.

    Returns
    -------
    StatusBase
        It fails with a `PositionError` that names axis, wanted, found and window.

    Raises
    ------
    LimitError, ValueError
        Before anything moves, for a position beyond the limits, or what is none.
    """
    for axis, wanted in zip(axes, wanted_mm, strict=True):
        axis.check_value(wanted)
    settle_s = max(axis.settle_time for axis in axes)
    ends = [threading.Event() for _ in axes]
    for axis, wanted, end in zip(axes, wanted_mm, ends, strict=True):
        put_with_callback(
            axis.user_setpoint, wanted, end
        )  # here, not in the background: a stop that follows comes after it

    def arrive() -> None:
        _wait_for_ends(axes, wanted_mm, ends, window_um, timeout_s)
        time.sleep(settle_s)
        _check_window(axes, wanted_mm, _read_positions_at_rest(axes, timeout_s), window_um)

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
        return f"{read_uncached(axis.user_readback):.4f}"
    except Exception:  # the IOC is gone: the position is not known
        return "unknown"


def _read_positions_at_rest(axes: Sequence[Axis], timeout_s: float) -> list[float]:
    """Readbacks, asked of the IOC once the axes report that they do not move: another client may move them too."""
    deadline = time.monotonic() + timeout_s
    done = [signal for axis in axes for signal in axis.done_signals]
    while True:
        answers = read_uncached_together(*done, *(axis.user_readback for axis in axes))
        if all(answers[: len(done)]):
            return [float(position) for position in answers[len(done) :]]
        if time.monotonic() > deadline:
            names = ", ".join(axis.title for axis in axes)
            raise NotArrivedError(f"{names}: still moving {timeout_s:g} s after the move was said to have ended")
        time.sleep(0.02)


def _check_window(axes: Sequence[Axis], wanted_mm: Sequence[float], found: Sequence[float], window_um: float) -> None:
    """Raise `PositionError` unless the positions found are within the window."""
    off_um = [1000 * (there - wanted) for there, wanted in zip(found, wanted_mm, strict=True)]
    if math.hypot(*off_um) <= window_um:
        return
    worst = max(range(len(axes)), key=lambda index: abs(off_um[index]))
    raise PositionError(
        f"{axes[worst].name} was sent to {wanted_mm[worst]:.4f} mm and reads {found[worst]:.4f} mm, "
        f"{off_um[worst]:+.1f} um off (window {window_um:g} um): check the axis for lost steps, then move again"
    )


def end_pseudo_move(device: Any, ended: StatusBase, status: StatusBase) -> None:
    """End a pseudo axis' own status, which knows no error but "failed" unless it is given one.

    Parameters
    ----------
    device : ophyd PseudoPositioner
        Whose pseudo axis moves.
    ended : StatusBase
        Of the move of the real axes, which is over.
    status : StatusBase
        Of the move of the pseudo axis.
    """
    error = ended.exception(timeout=0)
    if status.done:
        return  # stopped, or replaced by a newer move
    if error is None:
        device._done_moving(success=True)
    else:
        status.set_exception(error if isinstance(error, PositionError) else PositionError(str(error)))
        device._reset_sub(device._SUB_REQ_DONE)
