"""Axes without a motor record: a PV to set that completes when it is there, and a PV of the readback."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from ophyd import EpicsSignal, EpicsSignalRO, FormattedComponent, Kind, PVPositionerPC
from ophyd.utils import LimitError

from ...errors import CxgiError
from ..configuration import Configured, Settings
from ..naming import Named
from .signals import Timeouts, give_timeouts

UNIT = "mm"


@dataclass(frozen=True)
class AxisPvs:
    """PVs of an axis without a motor record, in mm: set with put-completion, read back, and stop it (with a 1)."""

    setpoint: str
    readback: str
    stop: str | None = None


def check_within(name: str, place: float, limits_mm: tuple[float, float] | None) -> None:
    """Raise `ValueError` for what is no position, `LimitError` beyond limits of the beamline file."""
    if not math.isfinite(place):
        raise ValueError(f"{name}: {place} mm is no position")
    if limits_mm is not None and not limits_mm[0] <= place <= limits_mm[1]:
        raise LimitError(f"{name}: {place:g} mm is outside {limits_mm} mm of the beamline file")


def described_in_mm(key: dict[str, Any], precision: int) -> dict[str, Any]:
    """Description of a position with unit, type and a precision that shows less than a um."""
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
        """What people know it by."""
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
        """Signals that tell whether it moves: none, completion is all that there is."""
        return ()

    @property
    def position(self) -> Any:
        """The last readback that the IOC has told."""
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

    def told_unit(self) -> str | None:
        """Unit of the readback, None if the IOC does not tell."""
        return (self.readback.metadata or {}).get("units") or None

    def check_unit(self) -> None:
        """Raise `CxgiError` if the readback tells another unit than mm."""
        if (unit := self.told_unit()) not in (None, UNIT):
            raise CxgiError(f"{self.readback_pv} is in {unit!r}: positions of boards are in mm, set it to mm")

    def describe(self) -> dict[str, Any]:
        """Description with unit, type and precision."""
        keys = super().describe()
        keys[self.readback.name] = described_in_mm(keys[self.readback.name], 4)
        return keys

    def destroy(self) -> None:
        """Let go of all PVs."""
        for signal in self.extra_signals.values():
            signal.destroy()
        super().destroy()
