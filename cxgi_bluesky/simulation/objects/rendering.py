"""Averages over sub-pixels: of a drawing that is known everywhere, and of one on other pixels.

A drawing is sampled on `SAMPLES` points per mask pixel and side whatever the sub-pixels, so that an object at
4 sub-pixels is the object at 8, averaged.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Map = NDArray[np.float32]
Positions = NDArray[np.float64]

SAMPLES = 32
ROWS_AT_ONCE = 2**20  # samples: bounds the memory


def block_mean(fine: NDArray[np.floating], factor: int) -> Map:
    """Average blocks of factor x factor: sub-pixels to pixels.

    Parameters
    ----------
    fine : ndarray, shape (n * factor, n * factor)
    factor : int
        Sub-pixels per pixel and side.

    Returns
    -------
    ndarray, shape (n, n)
    """
    n = len(fine) // factor
    return fine.reshape(n, factor, n, factor).mean(axis=(1, 3)).astype(np.float32)


def samples_per_subpixel(subpixels: int, samples: float = SAMPLES) -> int:
    """Samples per sub-pixel and side, for `samples` or more per mask pixel.

    Parameters
    ----------
    subpixels : int
        Sub-pixels per mask pixel and side.
    samples : float, optional
        Samples per mask pixel and side, at least; 32 by default.
    """
    return math.ceil(samples / subpixels)


def sample(draw: Callable[[Positions, Positions], NDArray[np.floating]], size: int, subpixels: int) -> Map:
    """Averages of a drawing over sub-pixels, shape (size * subpixels,) * 2.

    Parameters
    ----------
    draw : callable
        Transmission at positions (x, y) given in widths of the field from its centre: arrays of shapes (1, m)
        and (rows, 1) with values -0.5..0.5, x to the right and y down.
    size, subpixels : int
        Mask pixels per side and sub-pixels per pixel.
    """
    factor, cells = samples_per_subpixel(subpixels), size * subpixels
    positions = (np.arange(cells * factor) + 0.5) / (cells * factor) - 0.5
    averages = np.empty((cells, cells), dtype=np.float32)
    step = max(1, ROWS_AT_ONCE // (cells * factor * factor))
    for first in range(0, cells, step):
        rows = positions[first * factor : (first + step) * factor]
        values = np.broadcast_to(draw(positions[None, :], rows[:, None]), (len(rows), len(positions)))
        averages[first : first + step] = values.reshape(-1, factor, cells, factor).mean(axis=(1, 3))
    return averages


def resample(image: NDArray[np.floating], cells: int) -> Map:
    """A square image averaged onto other pixels, shape (cells, cells): exact, whatever the ratio.

    Parameters
    ----------
    image : ndarray, shape (pixels, pixels)
    cells : int
        Pixels per side of the result.
    """
    weights = _overlap(len(image), cells)
    averages: Map = (weights @ image @ weights.T).astype(np.float32)
    return averages


def _overlap(pixels: int, cells: int) -> Positions:
    """Share of each pixel in each cell, shape (cells, pixels); rows sum to 1."""
    cell, pixel = np.arange(cells)[:, None] / cells, np.arange(pixels)[None, :] / pixels
    low, high = np.maximum(cell, pixel), np.minimum(cell + 1 / cells, pixel + 1 / pixels)
    return np.maximum(high - low, 0) * cells
