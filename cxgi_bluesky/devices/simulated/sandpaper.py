"""Soft devices over the simulated sandpaper: stage, shutter, diode, object, and the camera that records the speckle."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from ophyd.status import StatusBase

from ...errors import ScanError, check_choice
from ...masks.speckle_board import SpeckleBoard
from ...simulation.beamline import SimulationParameters
from ...simulation.objects.registry import OBJECTS
from ...simulation.sandpaper import Sandpaper, SandpaperSimulation, SpeckleCamera
from ..area_detector import PatternCamera
from .beamline import (
    SimulatedBeamline,
    SimulatedDiode,
    SimulatedMaskStage,
    SimulatedObjectStage,
    SimulatedShutter,
    finish_after,
)


class SimulatedPatternCamera(PatternCamera):
    """Camera in the object plane of the simulation; an exposure takes `time_scale` times its real duration."""

    def __init__(
        self,
        *args: Any,
        simulation: SandpaperSimulation,
        camera: SpeckleCamera,
        seed: int,
        time_scale: float,
        **kwargs: Any,
    ) -> None:
        self._simulation, self._camera, self._time_scale = simulation, camera, time_scale
        self._rng = np.random.default_rng(seed)
        self._frame = np.zeros(simulation.board.size, dtype=np.uint16)
        self.size, self.full_well = simulation.board.size, camera.full_well
        super().__init__(*args, **kwargs)

    def _take(self) -> StatusBase:
        return finish_after(self._time_scale * self.exposure_s.get(), self, self._expose)

    def _expose(self) -> None:
        self._frame = self._camera.frame(self._simulation, self.exposure_s.get(), self._rng)

    def _last_frame(self) -> NDArray[Any]:
        return self._frame


@dataclass(frozen=True, kw_only=True)
class SimulatedSpeckleBeamline(SimulatedBeamline):
    """Soft devices and the simulated sandpaper behind them."""

    simulation: SandpaperSimulation
    camera: PatternCamera


def speckle_board(
    count: int = 10000, *, size: int = 59, pixel_um: float = 150.0, step_um: float = 1350.0
) -> SpeckleBoard:
    """Positions on a sheet of sandpaper, in rows that make it about square; the reference is beside it.

    Parameters
    ----------
    count : int, optional
        Positions (default 10000).
    size : int, optional
        Pixels per side of the image (default 59).
    pixel_um : float, optional
        Pixel pitch at the object (um; default 150).
    step_um : float, optional
        Distance between neighbouring positions (um; default 1350).
    """
    columns = max(1, round(count**0.5))
    beside_mm = max(20.0, (size + 20) * pixel_um / 1000)
    return SpeckleBoard("sandpaper", (size, size), pixel_um, step_um, count, columns, beside_mm=beside_mm)


def simulated_speckle_beamline(
    count: int = 10000,
    object_name: str = "CAS",
    *,
    seed: int = 0,
    board: SpeckleBoard | None = None,
    sandpaper: Sandpaper | None = None,
    camera: SpeckleCamera | None = None,
    parameters: SimulationParameters | None = None,
    time_scale: float = 0.0,
) -> SimulatedSpeckleBeamline:
    """A simulated beamline with sandpaper, one object and a camera to record the speckle.

    Parameters
    ----------
    count : int
        Positions of the stage, if no board is given.
    object_name : str
        "CAS" or "gold".
    seed : int
        Seed of all noise and of the sheet.
    board : SpeckleBoard, optional
        By default 59 x 59 pixels of 150 um, positions 1.35 mm apart.
    sandpaper : Sandpaper, optional
        By default grains of 150 um with a contrast of 0.2.
    camera : SpeckleCamera, optional
    parameters : SimulationParameters, optional
        By default those of the paper's copper board: 60 pA in the open beam, 5 um of stage error.
    time_scale : float
        Real seconds per simulated second of exposure; 0 = as fast as it can.

    Raises
    ------
    CxgiError
        For an unknown object, a board that is not square, or impossible numbers.
    """
    board = board or speckle_board(count)
    check_choice("object", object_name, OBJECTS, kind=ScanError)
    if board.size[0] != board.size[1]:
        raise ScanError(f"board {board.name!r} of {board.size} pixels: the objects of this beamline are square")
    parameters = parameters or SimulationParameters(open_pa=60.0, stage_rms_um=5.0)
    object_map = OBJECTS[object_name](board.size[0], parameters.subpixels)
    simulation = SandpaperSimulation(board, sandpaper or Sandpaper(seed=seed), object_map, parameters, seed=seed)
    return SimulatedSpeckleBeamline(
        stage=SimulatedMaskStage(name="stage", board=board, simulation=simulation),
        shutter=SimulatedShutter(name="shutter", simulation=simulation),
        diode=SimulatedDiode(name="diode", simulation=simulation, time_scale=time_scale),
        object_stage=SimulatedObjectStage(name="object_stage", simulation=simulation),
        simulation=simulation,
        camera=SimulatedPatternCamera(
            name="camera", simulation=simulation, camera=camera or SpeckleCamera(), seed=seed, time_scale=time_scale
        ),
    )
