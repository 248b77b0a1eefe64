"""Knife: a blade on one axis across the beam, to measure the size of the source."""

from __future__ import annotations

from typing import Any

from ophyd import Device

from ..errors import ScanError
from .base import Configured, Named, Settings


class Knife(Named, Configured, Device):
    """Base of all knives; a subclass gives `edge`, a positioner in um with limits.

    Parameters
    ----------
    axis : {"x", "y"}
        Along which the blade moves.
    in_position_um : float
        Largest distance from where it was sent at which an exposure counts.

    Raises
    ------
    CxgiError
        For another axis.
    """

    kind_labels = frozenset({"knives"})

    edge: Any

    def __init__(self, prefix: str = "", *, axis: str, in_position_um: float = 1.0, **kwargs: Any) -> None:
        if axis not in ("x", "y"):
            raise ScanError(f"axis {axis!r} of a knife is unknown: choose x or y")
        self.axis = axis
        self.in_position_um = in_position_um
        super().__init__(prefix, **kwargs)

    def settings(self) -> Settings:
        """Axis and window."""
        return {"axis": (self.axis, ""), "in_position_um": (self.in_position_um, "um")}

    @property
    def target_um(self) -> float:
        """Where it was sent to last: what a plan goes back to, as a readback may lie beyond a limit by its noise."""
        return float(self.edge.position)
