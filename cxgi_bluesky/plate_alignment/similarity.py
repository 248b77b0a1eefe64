"""The similarity (offset, rotation, scale, handedness) that lays places of a plate on stage positions.

With a = scale cos(rotation), b = scale sin(rotation) and f = -1 for a mirrored plate, x = x0 + f a p_x - b p_y and
y = y0 + f b p_x + a p_y: linear in (x0, y0, a, b), so that weighted least squares needs no start.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..errors import CxgiError
from ..masks.board import Alignment

Array = NDArray[np.float64]

PARAMETERS = 4


@dataclass(frozen=True, eq=False)
class Similarity:
    """A fitted similarity of one handedness.

    Attributes
    ----------
    found : ndarray, shape (4,)
        x0, y0 (mm), a and b.
    mirrored : bool
    covariance : ndarray, shape (4, 4)
        Of those.
    residual_mm : ndarray, shape (n, 2)
        Measured minus fitted.
    chi_square : float
    """

    found: Array
    mirrored: bool
    covariance: Array
    residual_mm: Array
    chi_square: float

    @property
    def alignment(self) -> Alignment:
        """The same in a board's words; `CxgiError` for a scale that is not near 1."""
        x0, y0, a, b = self.found.tolist()
        return Alignment(x0, y0, math.degrees(math.atan2(b, a)), math.hypot(a, b), self.mirrored)

    def sigma_at_mm(self, plate_mm: Array) -> Array:
        """One standard deviation of the stage positions of places (n, 2), both axes together; shape (n,)."""
        jacobian = _design(np.atleast_2d(plate_mm), self.mirrored)
        variance = np.einsum("nij,jk,nik->n", jacobian, self.covariance, jacobian)
        return np.sqrt(variance)


def fit_similarity(plate_mm: Array, stage_mm: Array, sigma_mm: Array, *, mirrored: bool) -> Similarity:
    """Weighted least squares for one handedness.

    Parameters
    ----------
    plate_mm, stage_mm, sigma_mm : ndarray, shape (n, 2)
        Places in plate coordinates, where they are on the stage, and one standard deviation of that.

    Raises
    ------
    CxgiError
        If they do not fix a similarity.
    """
    design = _design(plate_mm, mirrored).reshape(-1, PARAMETERS) / sigma_mm.reshape(-1, 1)
    wanted = (stage_mm / sigma_mm).reshape(-1)
    found, _, rank, _ = np.linalg.lstsq(design, wanted, rcond=None)
    if rank < PARAMETERS:
        raise CxgiError("the landmarks share one place: two or more apart are needed")
    residual = (wanted - design @ found).reshape(-1, 2)
    covariance = np.linalg.inv(design.T @ design).astype(np.float64)
    return Similarity(found.astype(np.float64), mirrored, covariance, residual * sigma_mm, float(np.sum(residual**2)))


def _design(plate_mm: Array, mirrored: bool) -> Array:
    """Derivatives of (x, y) by (x0, y0, a, b), shape (n, 2, 4)."""
    across, down = plate_mm[:, 0] * (-1 if mirrored else 1), plate_mm[:, 1]
    one, zero = np.ones(len(plate_mm)), np.zeros(len(plate_mm))
    return np.stack([np.stack([one, zero, across, -down], axis=1), np.stack([zero, one, down, across], axis=1)], axis=1)
