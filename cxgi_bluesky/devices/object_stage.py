"""ObjectStage: takes the object out of the beam and back."""

from __future__ import annotations

from abc import ABC, abstractmethod

from ophyd import Component, Device, Kind
from ophyd.signal import AttributeSignal
from ophyd.status import StatusBase

from ..errors import ScanError
from .base import Configured, Named

IN, OUT = "in", "out"


class ObjectStage(Named, Configured, Device, ABC):
    """Base of all object stages: ``set("in")``, ``set("out")``; a subclass gives `_command` and `_is_in`."""

    kind_labels = frozenset({"stages"})

    state = Component(AttributeSignal, attr="_state", kind=Kind.normal)

    @abstractmethod
    def _command(self, inside: bool) -> StatusBase:
        """Start moving; the status ends when the readback agrees."""

    @property
    @abstractmethod
    def _is_in(self) -> bool: ...

    @property
    def _state(self) -> str:
        return IN if self._is_in else OUT

    def set(self, value: str) -> StatusBase:
        """Move the object in or out.

        Raises
        ------
        CxgiError
            For any other word than "in" and "out".
        """
        if value not in (IN, OUT):
            raise ScanError(f"object position {value!r} is unknown: set {IN!r} or {OUT!r}")
        return self._command(value == IN)
