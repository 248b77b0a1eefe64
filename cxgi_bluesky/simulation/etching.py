"""How a tile comes out of the etching bath: rounded corners, sloped walls, over- and under-etching.

The forward model of the relative metal thickness t of a tile, drawn on sub-pixels:

    s = sigma_r * Phi^-1(gaussian_{sigma_r} * P)      a smooth signed distance to the design's edges
    etched = clip(1/2 + (s + delta) / dx, 0, 1)       delta: over-etching, drawn anew for each tile
    t = gaussian_side * (1 - etched) * (1 + eps)

The numbers of `COPPER_DEFECTS` and `GOLD_DEFECTS` were tuned by hand until the contrast that the paper
reports came out. They show that such defects suffice to explain it, not that they are its cause.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Map = NDArray[np.float32]


@dataclass(frozen=True)
class Defects:
    """Size of each defect (um, thickness relative); 0 switches it off.

    Edges are drawn on sub-pixels: they are never sharper than about half of one, and an offset below that
    moves them by up to a third less than it says.

    Attributes
    ----------
    corner_um, side_wall_um : float
        Radius of the rounding (sigma_r), and of the walls' slope.
    offset_um, offset_rms_um, offset_field_um : float
        Over-etching: common to all tiles, its spread from tile to tile, and its spread over a tile
        (correlated over a quarter of the tile).
    thickness_rms : float
        Spread of the metal's thickness from tile to tile.
    seed : int
        Of the board: the same seed is the same board.
    """

    corner_um: float = 0.0
    side_wall_um: float = 0.0
    offset_um: float = 0.0
    offset_rms_um: float = 0.0
    offset_field_um: float = 0.0
    thickness_rms: float = 0.0
    seed: int = 0


COPPER_DEFECTS = Defects(40.0, 15.0, 10.0, 4.5, 5.0, 0.02)
GOLD_DEFECTS = Defects(2.0, 2.0, 0.0, 0.8, 0.8, 0.02)


def thickness(design: Map, defects: Defects, cell_um: float, tile: int) -> Map:
    """Relative metal thickness of a tile.

    Parameters
    ----------
    design : ndarray, shape (cells, cells)
        1 where the tile is meant to be open.
    defects : Defects
    cell_um : float
        Size of a sub-pixel.
    tile : int
        Its number: each tile has its own defects, the same in every exposure.
    """
    from scipy.ndimage import gaussian_filter

    rng = np.random.default_rng([defects.seed, tile % 2**32])
    distance_um = _signed_distance(design, defects.corner_um, cell_um)
    distance_um += defects.offset_um + defects.offset_rms_um * np.float32(rng.normal())
    if defects.offset_field_um > 0:
        distance_um += defects.offset_field_um * _smooth_field(rng, len(design))
    metal = 1 - np.clip(0.5 + distance_um / cell_um, 0, 1)
    if defects.side_wall_um > 0:
        metal = gaussian_filter(metal, defects.side_wall_um / cell_um, mode="nearest")
    return (metal * (1 + defects.thickness_rms * rng.normal())).astype(np.float32)


def _signed_distance(design: Map, corner_um: float, cell_um: float) -> Map:
    """Distance (um) to the nearest edge of the design, positive where it is open, rounded in the corners."""
    from scipy.ndimage import gaussian_filter
    from scipy.special import ndtri

    radius_um = max(corner_um, 0.5 * cell_um)  # a sharp design's edges still lie between two cells
    smooth = gaussian_filter(design, radius_um / cell_um, mode="constant")  # metal all around the tile
    return (radius_um * ndtri(np.clip(smooth, 1e-6, 1 - 1e-6))).astype(np.float32)


def _smooth_field(rng: np.random.Generator, cells: int) -> Map:
    """Unit-variance field that varies over a quarter of the tile."""
    from scipy.ndimage import zoom

    coarse = rng.normal(size=(8, 8)).astype(np.float32)
    field = zoom(coarse, cells / 8, order=3, mode="nearest", grid_mode=True)
    return (field / field.std()).astype(np.float32)
