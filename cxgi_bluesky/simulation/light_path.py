"""What lies behind the mask, as the mask sees it: aperture, object, uneven light and penumbra in one map.

A bucket is the sum over the object plane of (mask's shadow) * (light, aperture, object). The shadow is the mask
convolved with the projected spot k, and sums may be taken in either order: <M * k, T> = <M, T * k'>, k' being k
turned round. So the blur is laid on the object side, once, and not on each mask.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ..masks.board import MaskBoard
from .geometry import Geometry
from .penumbra import Array, transfer
from .source import Source, intensity_map

Map = NDArray[np.float32]


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
