"""The physics twin: what the diode would read for a given board, object and stage position."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..board import MaskBoard
from ..errors import CxgiError
from .detector import Detector
from .etching import COPPER_DEFECTS, GOLD_DEFECTS, Defects
from .geometry import Geometry
from .light_path import behind_mask
from .mask import view_transmission
from .objects import block_mean
from .source import Source, intensity_drift

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
    source : Source
        Size of the spot, evenness of the light, veil.
    geometry : Geometry
        Distances along the beam.
    """

    open_pa: float = 15.0
    drift_rms: float = 0.005
    stage_rms_um: float = 0.5
    subpixels: int = 4
    detector: Detector = field(default_factory=Detector)
    defects: Defects | None = None
    source: Source = field(default_factory=Source)
    geometry: Geometry = field(default_factory=Geometry)


def twin_parameters(board: MaskBoard, *, etched: bool = False) -> TwinParameters:
    """Parameters for the paper's boards, with their etching defects if `etched`; a finer board is more exact."""
    if board.pixel_um >= 50:
        return TwinParameters(open_pa=60.0, stage_rms_um=5.0, defects=COPPER_DEFECTS if etched else None)
    return TwinParameters(defects=GOLD_DEFECTS if etched else None)


class BeamlineTwin:
    """Source, mask board on its stage, shutter, object, diode.

    State is set by plain methods; `expose` returns what the diode reads. Time is simulated: it
    passes only in exposures, so that the shutter-open seconds are those of the real scan.

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
        self.board = board
        self.parameters = parameters
        self.x_mm, self.y_mm = board.position_mm(0)
        self.shutter_open = False
        self.object_in = True
        self.openings = 0
        self.exposures = 0
        self.shutter_open_s = 0.0
        self._rng = np.random.default_rng(seed)
        self._drift = intensity_drift(self._rng, parameters.drift_rms)
        self._truth = object_map
        self._aperture, self._object = behind_mask(
            board, object_map, parameters.subpixels, parameters.source, parameters.geometry
        )

    @property
    def truth(self) -> Map:
        """True transmission, without any blur, on the mask's pixels as they fall on the object, shape (n, n)."""
        return block_mean(self._truth, self.parameters.subpixels)

    def move_to(self, x_mm: float, y_mm: float) -> None:
        """Stage move, with the stage's random error."""
        self.x_mm, self.y_mm = self._reached(x_mm), self._reached(y_mm)

    def move_x(self, x_mm: float) -> None:
        """Move of the x axis alone."""
        self.x_mm = self._reached(x_mm)

    def move_y(self, y_mm: float) -> None:
        """Move of the y axis alone."""
        self.y_mm = self._reached(y_mm)

    def _reached(self, target_mm: float) -> float:
        return target_mm + self.parameters.stage_rms_um / 1000 * float(self._rng.normal())

    def open_shutter(self) -> None:
        """Let the beam through."""
        self.openings += not self.shutter_open
        self.shutter_open = True

    def close_shutter(self) -> None:
        """Stop the beam."""
        self.shutter_open = False

    def current_pa(self) -> float:
        """Current of the diode without noise, drift and dark current."""
        if not self.shutter_open:
            return 0.0
        behind = self._object if self.object_in else self._aperture
        p = self.parameters
        mask = view_transmission(self.board, self.x_mm, self.y_mm, len(behind), p.subpixels, p.defects)
        field_cells = (self.board.size * p.subpixels) ** 2
        passed = float(np.vdot(mask, behind)) / field_cells
        return p.open_pa * ((1 - p.source.veil) * passed + p.source.veil)

    def expose(self, exposure_s: float) -> tuple[float, float]:
        """Integrate for `exposure_s`; returns the mean current and its sigma (pA)."""
        self.exposures += 1
        if self.shutter_open:
            self.shutter_open_s += exposure_s
        current = self.current_pa() * next(self._drift)
        return self.parameters.detector.read(current, exposure_s, self._rng)
