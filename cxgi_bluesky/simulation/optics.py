"""Optics of the beamline: distances, blur by a source of finite size, and one map of what lies behind the mask.

Behind a point of the mask (or of the object) every point of the spot casts its own shadow, so that the
shadow is the sharp one convolved with the projected spot. Along an axis, the share of the light of an input
cell that lands in an output bin is a double integral of the spot's profile over cell and bin: four values
of its second antiderivative. A spot that is separable needs one such matrix for the rows and one for the columns.

A bucket is the sum over the object plane of (mask's shadow) * (light, aperture, object). The shadow is the mask
convolved with the projected spot k, and sums may be taken in either order: <M * k, T> = <M, T * k'>, k' being k
turned round. So the blur is laid on the object side, once, and not on each mask.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from ..analysis.knife_edge import FWHM_PER_SIGMA, KnifeGeometry
from ..errors import ConfigError
from ..masks.board import MaskBoard
from .source import Source, intensity_map

Array = NDArray[np.float64]
Map = NDArray[np.float32]

NEGLIGIBLE = 1e-9  # a spot so much smaller than the field is a point


@dataclass(frozen=True)
class Geometry:
    """Distances along the beam (mm). The paper gives none; a knife, for example, is no part of this.

    Attributes
    ----------
    source_mask_mm, mask_object_mm, object_detector_mm : float
    """

    source_mask_mm: float = 450.0
    mask_object_mm: float = 10.0
    object_detector_mm: float = 460.0

    def __post_init__(self) -> None:
        for name in (f.name for f in fields(self)):
            least_ok = getattr(self, name) > 0 if name == "source_mask_mm" else getattr(self, name) >= 0
            if not (least_ok and math.isfinite(getattr(self, name))):
                raise ConfigError(f"{name} {getattr(self, name)} is no distance: give mm")

    @property
    def source_object_mm(self) -> float:
        """Source to object."""
        return self.source_mask_mm + self.mask_object_mm

    @property
    def source_detector_mm(self) -> float:
        """Source to detector."""
        return self.source_object_mm + self.object_detector_mm

    @property
    def object_magnification(self) -> float:
        """Size of the mask's shadow at the object over the mask: the object's pixel over the mask's."""
        return self.source_object_mm / self.source_mask_mm

    @property
    def detector_magnification(self) -> float:
        """Size of the object's shadow at the detector over the object."""
        return self.source_detector_mm / self.source_object_mm

    def object_pixel_um(self, mask_pixel_um: float) -> float:
        """Size at the object of a mask pixel's shadow: the pixel of a ghost image."""
        return mask_pixel_um * self.object_magnification

    def penumbra_um(self, spot_um: float) -> float:
        """Size at the object of the spot as a point of the mask projects it: what blurs a ghost image."""
        return spot_um * self.mask_object_mm / self.source_mask_mm

    def direct_blur_um(self, spot_um: float) -> float:
        """Size of the spot as a point of the object projects it, in the object's plane: spot * (M - 1) / M."""
        return spot_um * self.object_detector_mm / self.source_detector_mm


# ---------------------------------------------------------------- blur by the spot


def integrate_twice(t: Array, fwhm: float, shape: str) -> Array:
    """Second antiderivative of the spot's profile (integral 1, centred at 0): 0 far below, t far above.

    Parameters
    ----------
    t : ndarray, any shape
        Distances from the centre.
    fwhm : float
        Full width at half maximum of the spot, in the unit of `t`; 0 for a point.
    shape : {"gaussian", "uniform"}
        Profile of the spot.

    Returns
    -------
    ndarray, shape of `t`
        In the unit of `t`.
    """
    if fwhm <= NEGLIGIBLE * np.abs(t).max():
        return np.maximum(t, 0.0)
    if shape == "uniform":
        return np.where(t < fwhm / 2, np.maximum(t + fwhm / 2, 0) ** 2 / (2 * fwhm), t)
    from scipy.special import ndtr

    sigma = fwhm / FWHM_PER_SIGMA
    return t * ndtr(t / sigma) + sigma * np.exp(-((t / sigma) ** 2) / 2) / math.sqrt(2 * math.pi)


def transfer(bin_edges: Array, cell_edges: Array, fwhm: float, shape: str) -> Array:
    """Share of the light of each cell that lands in each bin, shape (bins, cells).

    Columns sum to 1 where the bins reach beyond the spot.

    Parameters
    ----------
    bin_edges : ndarray, shape (bins + 1,)
        Rising.
    cell_edges : ndarray, shape (cells + 1,)
        Rising, in the unit of `bin_edges`.
    fwhm : float
        Full width at half maximum of the projected spot, in the same unit; 0 for a point.
    shape : {"gaussian", "uniform"}
        Profile of the spot.
    """
    g = integrate_twice(np.subtract.outer(bin_edges, cell_edges), fwhm, shape)
    mass = g[1:, :-1] - g[1:, 1:] - g[:-1, :-1] + g[:-1, 1:]
    return mass / np.diff(cell_edges)


# ---------------------------------------------------------------- behind the mask


def behind_mask(
    board: MaskBoard, object_map: Map, subpixels: int, source: Source, geometry: Geometry
) -> tuple[Map, Map]:
    """Maps of the limiting aperture alone and with the object, on a view as wide as both need.

    Both are in units of the mask's sub-pixels: lengths at the object are divided by its magnification.
    The light that the penumbra carries beyond the view is counted at the view's rim, as if the mask went on
    there as it ends: neighbouring tiles are not drawn for it.

    Parameters
    ----------
    board : MaskBoard
    object_map : ndarray, shape (n * subpixels, n * subpixels)
        Transmission of the object in the shadow of a tile.
    subpixels : int
        Sub-pixels per mask pixel and side.
    source : Source
    geometry : Geometry

    Returns
    -------
    aperture, with_object : ndarray, shape (view, view)
    """
    aperture_cells = board.aperture_um / board.pixel_um * subpixels
    margin = max(0, math.ceil((aperture_cells - len(object_map)) / 2 - 1e-9))
    aperture = _aperture(len(object_map) + 2 * margin, aperture_cells)
    field_um = geometry.object_pixel_um(board.tile_um)
    light = intensity_map(source, len(object_map), field_um, geometry.source_object_mm * 1000)
    open_view, view = (aperture * np.pad(m, margin, mode="edge") for m in (light, light * object_map))
    cell_um = board.pixel_um / subpixels
    return blur(open_view, source, geometry, cell_um), blur(view, source, geometry, cell_um)


def _aperture(cells: int, open_cells: float) -> Map:
    offset = np.abs(np.arange(cells) - (cells - 1) / 2)
    inside = np.clip(open_cells / 2 - offset + 0.5, 0, 1).astype(np.float32)
    return np.multiply.outer(inside, inside)


def blur(view: Map, source: Source, geometry: Geometry, cell_um: float) -> Map:
    """A map on the mask's sub-pixels, convolved with the penumbra; what leaves it stays at its rim.

    Parameters
    ----------
    view : ndarray, shape (cells, cells)
        The map.
    source : Source
    geometry : Geometry
    cell_um : float
        Size of a sub-pixel on the mask (um).

    Returns
    -------
    ndarray, shape (cells, cells)
    """
    penumbra = {
        axis: geometry.penumbra_um(source.fwhm_um(axis)) / geometry.object_magnification / cell_um for axis in "xy"
    }
    if not any(penumbra.values()):
        return view
    down, across = (_to_the_same_cells(len(view), penumbra[axis], source.shape) for axis in "yx")
    return (down @ view @ across.T).astype(np.float32)


def _to_the_same_cells(cells: int, fwhm: float, shape: str) -> Array:
    edges = np.arange(cells + 1.0)
    reaching = edges.copy()
    reaching[0] -= 10 * fwhm
    reaching[-1] += 10 * fwhm
    return transfer(reaching, edges, fwhm, shape)


# ---------------------------------------------------------------- knife edge


@dataclass(frozen=True)
class Blade:
    """A thin, opaque blade that covers everything below its edge.

    Attributes
    ----------
    edge_um : float
        Position of the edge from the axis of the beam, in the blade's plane.
    geometry : KnifeGeometry
    """

    edge_um: float
    geometry: KnifeGeometry

    def transmission(self, source: Source, axis: str) -> float:
        """Share of the light that passes the blade.

        A ray from the spot's point u to the slit's point s crosses the blade's plane at a u + b s: the slit's
        shadow there, b times its width, blurred by the spot, a times its size. What of it lies above the edge passes.

        Parameters
        ----------
        source : Source
        axis : {"x", "y"}
            Along which the blade moves.
        """
        half = self.geometry.slit_share_um / 2
        spot = source.fwhm_um(axis) * self.geometry.spot_share
        top = max(self.edge_um, half + 10 * spot) + 1
        shares = transfer(np.array([self.edge_um, top]), np.array([-half, half]), spot, source.shape)
        return float(np.clip(shares[0, 0], 0, 1))
