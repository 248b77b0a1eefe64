"""Shutter: what every beam shutter of ours must do, whatever drives it.

This is no safety system; the facility's personnel safety system is.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any

from ophyd import Component, Device, Kind
from ophyd.signal import AttributeSignal
from ophyd.status import StatusBase

from ..errors import ScanError
from .base import Configured, Named, Settings

OPEN, CLOSED = "open", "closed"


class ShutterError(RuntimeError):
    """The shutter did not reach the state it was sent to; check it before going on."""


class Shutter(Named, Configured, Device, ABC):
    """Base of all shutters: opening is a ``set("open")``, and everything that ends a scan closes it.

    ``unstage()``, ``stop()`` and ``pause()`` close it, wait for the readback with a time-out and
    raise `ShutterError` if it is not closed then. A subclass gives `_command`, `_is_open`, `_open_s` and `_openings`.

    Attributes
    ----------
    state : "open" or "closed", from the readback.
    open_s, openings : seconds open and number of openings since the device was made.
    timeout_s : longest time a movement may take.
    longest_open_s : after so long something else closes it, such as the IOC's own timer; None: nothing does.
    """

    kind_labels = frozenset({"shutters"})

    state = Component(AttributeSignal, attr="_state", kind=Kind.normal)
    open_s = Component(AttributeSignal, attr="_open_s", kind=Kind.normal)
    openings = Component(AttributeSignal, attr="_openings", kind=Kind.normal)
    timeout_s = 10.0
    longest_open_s: float | None = None

    def settings(self) -> Settings:
        """Times."""
        return {"timeout_s": (self.timeout_s, "s"), "longest_open_s": (self.longest_open_s, "s")}

    @abstractmethod
    def _command(self, opened: bool) -> StatusBase:
        """Start opening or closing; the status ends when the readback agrees."""

    @property
    @abstractmethod
    def _is_open(self) -> bool: ...

    @property
    @abstractmethod
    def _open_s(self) -> float: ...

    @property
    @abstractmethod
    def _openings(self) -> int: ...

    @property
    def _state(self) -> str:
        return OPEN if self._is_open else CLOSED

    def set(self, value: str) -> StatusBase:
        """Open or close; the status ends when the readback agrees.

        Raises
        ------
        CxgiError
            For any other word than "open" and "closed".
        """
        if value not in (OPEN, CLOSED):
            raise ScanError(f"shutter state {value!r} is unknown: set {OPEN!r} or {CLOSED!r}")
        return self._command(value == OPEN)

    def close(self) -> None:
        """Close, and return only when the readback is closed.

        Raises
        ------
        ShutterError
            If it is not closed within `timeout_s`.
        """
        try:
            self.set(CLOSED).wait(timeout=self.timeout_s)
        except Exception as error:
            raise ShutterError(f"{self.name} did not close within {self.timeout_s} s: check it now") from error
        if self._is_open:
            raise ShutterError(f"{self.name} reads open after it was closed: check it now")

    def unstage(self) -> list[object]:
        """Close, then unstage."""
        try:
            self.close()
        finally:
            unstaged = super().unstage()
        return unstaged

    def stop(self, *, success: bool = False) -> None:
        """Close: called by the RunEngine when a plan is stopped."""
        self.close()

    def pause(self) -> None:
        """Close: called by the RunEngine when a plan is paused."""
        self.close()

    def resume(self) -> None:
        """Stay closed: the exposure that was interrupted is repeated and opens for itself."""

    def describe(self) -> dict[str, Any]:
        """Descriptions with units."""
        keys = super().describe()
        keys[self.open_s.name] |= {"dtype": "number", "dtype_numpy": "<f8", "units": "s", "precision": 3}
        keys[self.openings.name] |= {"dtype": "integer", "dtype_numpy": "<i8", "units": ""}
        return keys
