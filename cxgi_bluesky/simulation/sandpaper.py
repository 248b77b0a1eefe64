"""Sandpaper in the beam: one large sheet of random speckle, the beamline that moves it, the camera that records it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError
from ..masks.speckle_board import SpeckleBoard
from .base import ELEMENTARY_CHARGE_C, EV_PER_PAIR, SimulationControls
from .beamline import SimulationParameters

Map = NDArray[np.float32]
MARGIN_UM = 600.0  # of sheet around the outermost views: stage errors and the camera's point spread


@dataclass(frozen=True)
class Sandpaper:
    """Random speckle: log-normal intensity over a Gaussian field, stationary and isotropic.

    Attributes
    ----------
    grain_um : float
        Full width at half maximum of the intensity's autocovariance: the size of a speckle.
    contrast : float
        Standard deviation over mean of the intensity at a point; pixels average some of it away.
    transmission : float
        Mean intensity behind the sheet relative to that beside it.
    seed : int
    """

    grain_um: float = 150.0
    contrast: float = 0.2
    transmission: float = 0.8
    seed: int = 0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.grain_um) and self.grain_um > 0):
            raise ConfigError(f"grain_um {self.grain_um} of the sandpaper is no length")
        if not 0 < self.contrast < 2:
            raise ConfigError(f"contrast {self.contrast} of the sandpaper is outside 0 < contrast < 2")
        if not 0 < self.transmission <= 1:
            raise ConfigError(f"transmission {self.transmission} of the sandpaper is outside 0 < transmission <= 1")

    def sheet(self, shape: tuple[int, int], cell_um: float) -> Map:
        """Relative intensity behind a sheet.

        Parameters
        ----------
        shape : (int, int)
            Rows and columns of cells.
        cell_um : float
            Size of a cell (um).

        Returns
        -------
        ndarray of float32, shape `shape`
            The beam beside the sheet is 1.

        Raises
        ------
        CxgiError
            If a grain has fewer than three cells.
        """
        from scipy.ndimage import gaussian_filter, gaussian_filter1d

        if self.grain_um < 3 * cell_um:
            raise ConfigError(f"a grain of {self.grain_um} um on cells of {cell_um} um: take more sub-pixels")
        # exp(s^2 rho) - 1 halves where rho = ln(1 + c^2 / 2) / ln(1 + c^2); rho = exp(-r^2 / (4 width^2))
        variance = math.log1p(self.contrast**2)
        width = self.grain_um / 4 / math.sqrt(-math.log(math.log1p(self.contrast**2 / 2) / variance)) / cell_um
        rng = np.random.default_rng(self.seed)
        field = gaussian_filter(rng.standard_normal(shape, dtype=np.float32), width, mode="wrap")
        point = np.zeros(2 * math.ceil(5 * width) + 1)
        point[len(point) // 2] = 1
        field *= np.float32(math.sqrt(variance) / np.sum(gaussian_filter1d(point, width) ** 2))
        np.exp(field, out=field)
        field *= np.float32(self.transmission * math.exp(-variance / 2))
        return field


class SandpaperSimulation(SimulationControls):
    """Source, sandpaper on its stage, shutter, object, diode.

    Parameters
    ----------
    board : SpeckleBoard
        Positions of the stage; the sheet covers all of them, and beside it the beam is plain.
    sandpaper : Sandpaper
    object_map : ndarray, shape (rows * subpixels, columns * subpixels)
        Transmission of the object; the limiting aperture lies around it.
    parameters : SimulationParameters
        `defects` and whatever else belongs to masks has no meaning here.
    seed : int
        Of stage, drift and detector.

    Raises
    ------
    CxgiError
        If the steps are no longer than a grain, or the reference position is not beside the sheet.
    """

    def __init__(
        self, board: SpeckleBoard, sandpaper: Sandpaper, object_map: Map, parameters: SimulationParameters, *, seed: int
    ) -> None:
        if board.step_um <= sandpaper.grain_um:
            raise ConfigError(
                f"steps of {board.step_um} um over grains of {sandpaper.grain_um} um: neighbouring positions share "
                "their speckle, take longer steps"
            )
        if board.beside_mm * 1000 < board.size[1] * board.pixel_um + 2 * MARGIN_UM:
            raise ConfigError(f"beside_mm {board.beside_mm} of board {board.name!r} is still on the sheet: go further")
        super().__init__(
            board.position_mm(0),
            detector=parameters.detector,
            drift_rms=parameters.drift_rms,
            stage_rms_um=parameters.stage_rms_um,
            seed=seed,
        )
        self.board, self.sandpaper, self.parameters = board, sandpaper, parameters
        self.cell_um = board.pixel_um / parameters.subpixels
        self.object_map = np.asarray(object_map, dtype=np.float32)

    @property
    def truth(self) -> Map:
        """True transmission on the image's pixels, shape (rows, columns)."""
        return pixel_means(self.object_map, self.parameters.subpixels)

    @property
    def photons_per_pixel_s(self) -> float:
        """Photons in a pixel and second with nothing in the beam, as the diode would count them."""
        charge = ELEMENTARY_CHARGE_C * self.parameters.detector.photon_energy_kev * 1000 / EV_PER_PAIR
        return self.parameters.open_pa * 1e-12 / charge / math.prod(self.board.size)

    @cached_property
    def _sheet(self) -> Map:
        """The whole sheet: 60 MB for 10000 positions 1.35 mm apart on cells of 37.5 um."""
        reach_um = np.array([self.board.rows - 1, min(self.board.columns, self.board.count) - 1]) * self.board.step_um
        field_um = np.array(self.board.size) * self.board.pixel_um
        rows, columns = np.ceil((reach_um + field_um + 2 * MARGIN_UM) / self.cell_um).astype(int).tolist()
        return self.sandpaper.sheet((rows, columns), self.cell_um)

    def speckle(self, margin_cells: int = 0) -> Map:
        """Intensity in the object plane relative to the open beam at the stage's position.

        Shape (rows * subpixels, columns * subpixels), wider by a margin on each side; 1 beside the
        sheet, interpolated linearly between its cells.
        """
        shape = tuple(n + 2 * margin_cells for n in self.object_map.shape)
        corner_um = np.array([self.y_mm - self.board.y0_mm, self.x_mm - self.board.x0_mm]) * 1000 + MARGIN_UM
        top, left = (float(v) for v in np.round(corner_um / self.cell_um - margin_cells, 6))
        row, column = math.floor(top), math.floor(left)
        window = _cut(self._sheet, row, column, (shape[0] + 1, shape[1] + 1))
        down, right = np.float32(top - row), np.float32(left - column)
        window = window[:-1] + down * (window[1:] - window[:-1]) if down else window[:-1]
        return window[:, :-1] + right * (window[:, 1:] - window[:, :-1]) if right else window[:, :-1]

    def current_pa(self) -> float:
        """Current of the diode without noise, drift and dark current."""
        if not self.shutter_open:
            return 0.0
        speckle = self.speckle()
        light = float(np.vdot(speckle, self.object_map)) if self.object_in else float(speckle.sum(dtype=np.float64))
        return self.parameters.open_pa * light / self.object_map.size


def _cut(sheet: Map, row: int, column: int, shape: tuple[int, int]) -> Map:
    """A window of the sheet; 1 where it lies beside it."""
    top, left = max(0, row), max(0, column)
    part = sheet[top : max(top, row + shape[0]), left : max(left, column + shape[1])]
    if part.shape == shape:
        return part
    window = np.ones(shape, dtype=np.float32)
    window[top - row : top - row + part.shape[0], left - column : left - column + part.shape[1]] = part
    return window


def pixel_means(fine: NDArray[np.floating], factor: int) -> Map:
    """Average blocks of factor x factor sub-pixels of any rectangle.

    Parameters
    ----------
    fine : ndarray, shape (rows * factor, columns * factor)
    factor : int
        Sub-pixels per pixel and side.

    Returns
    -------
    ndarray, shape (rows, columns)
    """
    rows, columns = fine.shape[0] // factor, fine.shape[1] // factor
    return fine.reshape(rows, factor, columns, factor).mean(axis=(1, 3)).astype(np.float32)


# ---------------------------------------------------------------- camera


@dataclass(frozen=True)
class SpeckleCamera:
    """An integrating detector whose pixels are those of the image (or are binned to them).

    Attributes
    ----------
    psf_um : float
        Full width at half maximum of its point spread; 0 for none.
    efficiency : float
        Share of the diode's photons that it detects.
    counts_per_photon, offset, read_noise : float
        Counts of a detected photon, of no light, and rms of a pixel without light.
    photon_noise : bool
        False for a camera that counts without noise.
    full_well : int
        Largest count.
    """

    psf_um: float = 50.0
    efficiency: float = 1.0
    counts_per_photon: float = 20.0
    offset: float = 100.0
    read_noise: float = 5.0
    photon_noise: bool = True
    full_well: int = 65535

    def frame(self, simulation: SandpaperSimulation, exposure_s: float, rng: np.random.Generator) -> NDArray[np.uint16]:
        """Counts of one exposure, shape (rows, columns); with the shutter closed a dark frame.

        The object is in the image unless it was moved out of the beam.

        Parameters
        ----------
        simulation : SandpaperSimulation
        exposure_s : float
            Exposure time (s).
        rng : numpy.random.Generator
        """
        photons = np.zeros(simulation.board.size)
        if simulation.shutter_open:
            photons = self._light(simulation) * (simulation.photons_per_pixel_s * self.efficiency * exposure_s)
        if self.photon_noise:
            photons = rng.poisson(photons).astype(np.float64)
        counts = photons * self.counts_per_photon + self.offset + self.read_noise * rng.normal(size=photons.shape)
        return np.clip(np.rint(counts), 0, self.full_well).astype(np.uint16)

    def _light(self, simulation: SandpaperSimulation) -> NDArray[np.float64]:
        """Relative intensity on the pixels, blurred by the point spread."""
        from scipy.ndimage import gaussian_filter

        subpixels, width = simulation.parameters.subpixels, self.psf_um / 2.3548 / simulation.cell_um
        margin = math.ceil(4 * width)
        light = simulation.speckle(margin)
        if simulation.object_in:
            light = light * np.pad(simulation.object_map, margin, mode="edge")
        if margin:
            light = gaussian_filter(light, width)[margin:-margin, margin:-margin]
        return pixel_means(light, subpixels).astype(np.float64)
