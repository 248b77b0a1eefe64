"""Simulation of the beamline: what the diode would read for a given board, object and stage position."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError
from ..masks.board import MaskBoard
from ..masks.tile_maps import FineTileMaps
from .base import Detector, SimulationControls
from .board.etching import COPPER_DEFECTS, GOLD_DEFECTS, Defects
from .board.mask import view
from .board.tiles import tiles_of
from .camera import Camera, DirectImage, Frame, direct_image, pixels_across, project
from .objects.rendering import block_mean
from .optics import Blade, Geometry, behind_mask
from .source import Source

Map = NDArray[np.float32]


@dataclass(frozen=True)
class SimulationParameters:
    """Numbers of the forward model (design values per board are in `simulation_parameters`).

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


def simulation_parameters(board: MaskBoard, *, etched: bool = False) -> SimulationParameters:
    """Parameters for the paper's boards; a finer board is more exact.

    Parameters
    ----------
    board : MaskBoard
    etched : bool, optional
        Whether the board has its etching defects; False by default.
    """
    if board.pixel_um >= 50:
        return SimulationParameters(open_pa=60.0, stage_rms_um=5.0, defects=COPPER_DEFECTS if etched else None)
    return SimulationParameters(defects=GOLD_DEFECTS if etched else None)


class BeamlineSimulation(SimulationControls):
    """Source, mask board on its stage, shutter, object, diode.

    State is set by plain methods; `expose` returns what the diode reads (`SimulationControls`).

    Parameters
    ----------
    board : MaskBoard
        The board as it really lies on the stage.
    object_map : ndarray, shape (n * subpixels, n * subpixels)
        Transmission of the object in the board's field.
    parameters : SimulationParameters
    seed : int
        The same seed gives the same readings for the same sequence of calls.
    tile_maps : FineTileMaps, optional
        Measured transmission of the tiles, in place of the design and its defects.

    Raises
    ------
    CxgiError
        If the object's map or the tile maps do not fit the board.
    """

    def __init__(
        self,
        board: MaskBoard,
        object_map: Map,
        parameters: SimulationParameters,
        *,
        seed: int,
        tile_maps: FineTileMaps | None = None,
    ) -> None:
        cells = board.size * parameters.subpixels
        if object_map.shape != (cells, cells):
            raise ConfigError(
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
        self.blades: dict[str, Blade] = {}  # knives in the beam, by the axis along which they move
        self._truth = object_map
        self._tiles = tiles_of(board, parameters.subpixels, parameters.defects, tile_maps)
        self._aperture, self._object = behind_mask(
            board, object_map, parameters.subpixels, parameters.source, parameters.geometry
        )

    @property
    def truth(self) -> Map:
        """True transmission, without any blur, on the mask's pixels as they fall on the object, shape (n, n)."""
        return block_mean(self._truth, self.parameters.subpixels)

    def mask_map(self, x_mm: float, y_mm: float, cells: int | None = None) -> Map:
        """Transmission of the board at a stage position, in a square view.

        Parameters
        ----------
        x_mm, y_mm : float
            Stage position (mm).
        cells : int, optional
            Sub-pixels per side of the view; by default those of the field.

        Returns
        -------
        ndarray, shape (cells, cells)
        """
        return view(self._tiles, x_mm, y_mm, cells or len(self._truth))

    def _view(self) -> tuple[Map, Map]:
        """The mask's transmission, and what lies behind it, in the view of the aperture."""
        behind = self._object if self.object_in else self._aperture
        return self.mask_map(self.x_mm, self.y_mm, len(behind)), behind

    def current_pa(self) -> float:
        """Current of the diode without noise, drift and dark current."""
        if not self.shutter_open:
            return 0.0
        mask, behind = self._view()
        source = self.parameters.source
        transmission = float(np.vdot(mask, behind)) / (self.board.size * self.parameters.subpixels) ** 2
        for axis, blade in self.blades.items():
            transmission *= blade.transmission(source, axis)
        return self.parameters.open_pa * ((1 - source.veil) * transmission + source.veil)

    def expose_frame(self, camera: Camera, exposure_s: float) -> Frame:
        """One frame of a camera in the diode's place that detects the same number of photons; counts.

        The total follows `current_pa`. Where in the frame the light falls is approximate: the penumbra of the mask
        is on the object's side, and a veil lies where the image lies.

        Parameters
        ----------
        camera : Camera
        exposure_s : float
            Exposure time (s).

        Returns
        -------
        ndarray, shape (pixels, pixels)
            As many pixels as `frame_pixels` returns.
        """
        p = self.parameters
        photons = p.detector.photons_per_s(self._expose_pa(exposure_s)) * exposure_s
        mask, behind = self._view()
        image = project(mask * behind, self._cell_um, p.source, p.geometry, camera.pixel_at(p.geometry))
        return camera.frame(photons * image / max(image.sum(), 1e-30), self._rng)

    def direct_image(self, camera: Camera, *, photons_per_pixel: float, seed: int) -> DirectImage:
        """Projection image of the object on a camera in the diode's place, without a mask (`camera.direct_image`).

        Parameters
        ----------
        camera : Camera
        photons_per_pixel : float
            Mean number of photons in an open pixel.
        seed : int
            Of the camera's noise.
        """
        p = self.parameters
        return direct_image(
            self._truth, self._cell_um, p.source, p.geometry, camera, photons_per_pixel=photons_per_pixel, seed=seed
        )

    def frame_pixels(self, camera: Camera) -> int:
        """Pixels in a frame of a camera: as many as the aperture's shadow fills."""
        field_um = len(self._aperture) * self._cell_um
        return pixels_across(field_um, camera.pixel_at(self.parameters.geometry)) ** 2

    @property
    def _cell_um(self) -> float:
        """Size of a sub-pixel at the object."""
        return self.parameters.geometry.object_pixel_um(self.board.pixel_um) / self.parameters.subpixels
