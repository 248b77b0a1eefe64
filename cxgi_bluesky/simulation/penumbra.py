"""Blur by a source of finite size, exactly, between maps that are constant on their cells.

Behind a point of the mask (or of the object) every point of the spot casts its own shadow, so that the
shadow is the sharp one convolved with the projected spot. Along an axis, the share of the light of an input
cell that lands in an output bin is a double integral of the spot's profile over cell and bin: four values
of its second antiderivative. A spot that is separable needs one such matrix for the rows and one for the columns.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]

NEGLIGIBLE = 1e-9  # a spot so much smaller than the field is a point
FWHM_PER_SIGMA = 2 * math.sqrt(2 * math.log(2))


def twice_integrated(t: Array, fwhm: float, shape: str) -> Array:
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
    g = twice_integrated(np.subtract.outer(bin_edges, cell_edges), fwhm, shape)
    mass = g[1:, :-1] - g[1:, 1:] - g[:-1, :-1] + g[:-1, 1:]
    return mass / np.diff(cell_edges)
