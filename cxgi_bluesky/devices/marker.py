"""VisitMarker: numbers that a plan writes beside its readings, so that an event says what it is of."""

from __future__ import annotations

from typing import Any

from ophyd import Component, Device, Kind, Signal
from ophyd.status import Status, StatusBase


class Number(Signal):
    """A whole number."""

    def describe(self) -> dict[str, Any]:
        """Description with exact type."""
        keys = super().describe()
        keys[self.name] |= {"dtype": "integer", "dtype_numpy": "<i8", "units": ""}
        return keys


class VisitMarker(Device):
    """Which fiducial is looked at, and at which visit: ``Msg("set", marker, (landmark, visit))``."""

    landmark = Component(Number, value=-1, kind=Kind.normal)
    visit = Component(Number, value=-1, kind=Kind.normal)

    def set(self, numbers: tuple[int, int]) -> StatusBase:
        """Both numbers at once."""
        self.landmark.put(numbers[0])
        self.visit.put(numbers[1])
        status = Status(obj=self, timeout=1)
        status.set_finished()
        return status
