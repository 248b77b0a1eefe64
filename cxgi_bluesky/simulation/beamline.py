"""The physics twin: what the diode would read for a given board, object and stage position."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..board import MaskBoard
from ..errors import CxgiError
from .controls import TwinControls
from .detector import Detector
from .etching import COPPER_DEFECTS, GOLD_DEFECTS, Defects
from .mask import view_transmission
from .objects import block_mean

Map = NDArray[np.float32]


@dataclass(frozen=True)
class TwinParameters:
    """Numbers of the forward model (design values per board are in `twin_parameters`).

    Attributes
    ----------
    open_pa : float
        Current with everything open (I_open).
    drift_rms : float
        Relative rms of the source's drift.
    stage_rms_um : float
        Random error of each stage move, per axis.
    subpixels : int
        Sub-pixels per mask pixel, at least 4 for numbers to be quoted.
    detector : Detector
    defects : Defects, optional
        What etching did to the board; none by default.
    """

    open_pa: float = 15.0
    drift_rms: float = 0.005
    stage_rms_um: float = 0.5
    subpixels: int = 4
    detector: Detector = field(default_factory=Detector)
    defects: Defects | None = None


def twin_parameters(board: MaskBoard, *, etched: bool = False) -> TwinParameters:
    """Parameters for the paper's boards, with their etching defects if `etched`; a finer board is more exact."""
    if board.pixel_um >= 50:
        return TwinParameters(open_pa=60.0, stage_rms_um=5.0, defects=COPPER_DEFECTS if etched else None)
    return TwinParameters(defects=GOLD_DEFECTS if etched else None)


class BeamlineTwin(TwinControls):
    """Source, mask board on its stage, shutter, object, diode.

    State is set by plain methods; `expose` returns what the diode reads (`TwinControls`).

    Parameters
    ----------
    board : MaskBoard
        The board as it really lies on the stage.
    object_map : ndarray, shape (n * subpixels, n * subpixels)
        Transmission of the object in the board's field.
    parameters : TwinParameters
    seed : int
        The same seed gives the same readings for the same sequence of calls.

    Raises
    ------
    CxgiError
        If the object's map does not fit the board.
    """

    def __init__(self, board: MaskBoard, object_map: Map, parameters: TwinParameters, *, seed: int) -> None:
        cells = board.size * parameters.subpixels
        if object_map.shape != (cells, cells):
            raise CxgiError(
                f"object of shape {object_map.shape} for {cells} x {cells} sub-pixels of board {board.name!r}"
            )
        super().__init__(
            board.position_mm(0),
            detector=parameters.detector,
            drift_rms=parameters.drift_rms,
            stage_rms_um=parameters.stage_rms_um,
            seed=seed,
        )
        self.board = board
        self.parameters = parameters
        self._truth = object_map
        self._aperture, self._object = _behind_aperture(board, object_map, parameters.subpixels)

    @property
    def truth(self) -> Map:
        """True transmission on the mask's pixels, shape (n, n)."""
        return block_mean(self._truth, self.parameters.subpixels)

    def current_pa(self) -> float:
        """Current of the diode without noise, drift and dark current."""
        if not self.shutter_open:
            return 0.0
        behind = self._object if self.object_in else self._aperture
        p = self.parameters
        mask = view_transmission(self.board, self.x_mm, self.y_mm, len(behind), p.subpixels, p.defects)
        field_cells = (self.board.size * p.subpixels) ** 2
        return self.parameters.open_pa * float(np.vdot(mask, behind)) / field_cells


def _behind_aperture(board: MaskBoard, object_map: Map, subpixels: int) -> tuple[Map, Map]:
    """Maps of the limiting aperture alone and with the object, on a view as wide as both need."""
    field_cells = len(object_map)
    aperture_cells = round(board.aperture_um / board.pixel_um * subpixels)
    margin = max(0, math.ceil((aperture_cells - field_cells) / 2))
    view = np.pad(object_map, margin, mode="edge").astype(np.float32)
    offset = np.abs(np.arange(len(view)) - (len(view) - 1) / 2)
    inside = (offset < aperture_cells / 2).astype(np.float32)
    aperture = np.multiply.outer(inside, inside)
    return aperture, aperture * view
