"""Motor records in mm with limits of the beamline file, and moves of axes that are checked when they have ended."""

from __future__ import annotations

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
from ..positions import UNIT, NotArrivedError, check_window, check_within, describe_in_mm
from ..status import in_background
from .signals import Timeouts, give_timeouts, put_with_callback, read_uncached, read_uncached_together, wait_for_record


@dataclass(frozen=True)
class AxisPvs:
    """PVs of an axis without a motor record, in mm: set with put-completion, read back, and stop it (with a 1)."""

    setpoint: str
    readback: str
    stop: str | None = None


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
        check_window([axis.name for axis in axes], wanted_mm, _read_positions_at_rest(axes, timeout_s), window_um)

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
