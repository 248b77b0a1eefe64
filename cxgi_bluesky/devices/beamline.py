"""The bundle of devices that a scan needs."""

from __future__ import annotations

from dataclasses import dataclass

from ..speckle_board import Board
from .diode import Diode
from .object_stage import ObjectStage
from .shutter import Shutter
from .stage import MaskStage


@dataclass(frozen=True)
class Beamline:
    """Stage, shutter, diode, and what a beamline may have besides."""

    stage: MaskStage
    shutter: Shutter
    diode: Diode
    object_stage: ObjectStage | None = None

    @property
    def board(self) -> Board:
        """The board on the stage."""
        return self.stage.board

    @property
    def devices(self) -> list[object]:
        """All devices, for baselines and tables."""
        return [d for d in (self.stage, self.shutter, self.diode, self.object_stage) if d is not None]
