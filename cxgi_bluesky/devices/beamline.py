"""The bundle of devices that a scan needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ..speckle_board import Board
from .diode import Diode
from .object_stage import ObjectStage
from .shutter import Shutter
from .stage import MaskStage


@dataclass(frozen=True)
class Beamline:
    """Stage, shutter, diode, and what a beamline may have besides.

    Attributes
    ----------
    stage, shutter, diode, object_stage
        What plans take.
    source : Device, optional
        Signals that say whether there is beam; a session's scans wait while there is none.
    data : str, optional
        Data folder of sessions with this beamline.
    """

    stage: MaskStage
    shutter: Shutter
    diode: Diode
    object_stage: ObjectStage | None = None
    source: Any = None
    data: str | None = None

    @property
    def board(self) -> Board:
        """The board on the stage."""
        return self.stage.board

    @property
    def devices(self) -> list[object]:
        """All devices of a scan, for baselines and tables."""
        return [d for d in (self.stage, self.shutter, self.diode, self.object_stage) if d is not None]

    @property
    def all_devices(self) -> list[Any]:
        """Also what no plan takes: second barrier and source."""
        others = (getattr(self.shutter, "barrier", None), self.source)
        return [*self.devices, *(d for d in others if d is not None)]

    def wait_for_return(self) -> None:
        """Wait for PVs whose IOC was started again; returns at once if all are connected, or there are none.

        Raises
        ------
        CxgiError
            Naming the PVs that have not come back within half a minute.
        """
        from .epics.signals import wait_for_return

        wait_for_return(self.all_devices)
