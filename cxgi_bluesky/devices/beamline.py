"""The bundle of devices that a scan needs."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

from ..masks.speckle_board import Board
from .protocols import BeamShutter, BucketDetector, KnifeBlade, ObjectMover, TileStage

ExportFormat = Literal["nexus", "hdf5", "csv", "tiff", "png", "gif"]  # as of `catalog.export_run`
PROXY_ADDRESS = r"^[\w.-]+:\d{1,5}$"
PV_PREFIX = r"^[A-Za-z0-9_:.-]+$"


@dataclass(frozen=True)
class Beamline:
    """Stage, shutter, diode, and what a beamline may have besides.

    Attributes
    ----------
    stage, shutter, diode, object_stage
        What plans take.
    knife : KnifeBlade, optional
        Blade to measure the source with; `knife_edge_scan` takes it.
    source : Device, optional
        Signals that show whether there is beam; a session's scans wait while there is none.
    data : str, optional
        Data folder of sessions with this beamline.
    export : str, optional
        Format of the file that such sessions write of each scan.
    publish : str, optional
        0MQ proxy to which such sessions publish their documents, ``host:port``.
    pva : str, optional
        Prefix of the PVs as which such sessions serve their images, over pvAccess.
    """

    stage: TileStage
    shutter: BeamShutter
    diode: BucketDetector
    object_stage: ObjectMover | None = None
    knife: KnifeBlade | None = None
    source: Any = None
    data: str | None = None
    export: ExportFormat | None = None
    publish: str | None = None
    pva: str | None = None

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Show in IPython what there is."""
        names = ", ".join(device.name for device in self.all_devices)
        printer.text(f"{type(self).__name__}({names}; board {self.board.name!r})")

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
        """Also what no scan of an image takes: knife, backup shutter and source."""
        others = (self.knife, getattr(self.shutter, "barrier", None), self.source)
        return [*self.devices, *(d for d in others if d is not None)]

    def wait_for_return(self) -> None:
        """Wait for what was disconnected, where devices can be; soft ones cannot."""
