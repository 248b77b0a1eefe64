"""Errors that the coefficients of a binary measurement have in common.

Every s_k with k > 0 has the same multiple of b_0 subtracted, so an error of b_0 adds one constant to all of them.
Masks that were etched a little too far, or not far enough, pass more or less light in proportion to the edges of
their pattern: u + v for sequency (u, v). Both look like a spot at pixel (0, 0), as sharp as the measured
patterns allow (one sharper, one softer). An object rarely has exactly such spots, so their sizes can be found from
the data.

A reference scan takes the edges' share off and leaves the masks' mean: a constant again, larger than b_0's noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ...masks.orders import sequency_grid
from ...masks.transform import walsh_hadamard_2d
from ...measurement.measurement import Measurement

Array = NDArray[np.float64]

# Relative sigma of the light that passes a mask more than designed, for u + v = n or, after a reference scan, for
# all masks alike. From 0.005 to 0.1 it makes no difference.
MASK_LEVEL = 0.02
_TAKEN_OFF = "common_error"  # key of `source`: never twice


@dataclass(frozen=True)
class CommonError:
    """What is common to the errors of all coefficients k > 0, in their unit.

    Attributes
    ----------
    constant : float
    edges : float
        For a pattern of sequency u + v = n (half of all edges that there can be).
    """

    constant: float = 0.0
    edges: float = 0.0

    def at_patterns(self, pattern_index: NDArray[np.int64], size: int) -> Array:
        """Evaluate the error of some coefficients, shape (len,).

        Parameters
        ----------
        pattern_index : ndarray of int, shape (len,)
            Which coefficients.
        size : int
            Pixels per side n.
        """
        constant, edges = _shapes(pattern_index, size)
        error: Array = self.constant * constant + self.edges * edges
        return error


def estimate_common_error(measurement: Measurement, level: float = MASK_LEVEL) -> CommonError:
    """Estimate the most probable common error.

    The gradient of the zero-filled inverse is taken as Gaussian with its mean power everywhere, the two sizes as
    Gaussian with the sigmas that `prior_sigmas` gives: linear least squares for two numbers.

    Parameters
    ----------
    measurement : Measurement
    level : float, optional
        As for `prior_sigmas`; `MASK_LEVEL` by default.
    """
    sigmas = np.array(prior_sigmas(measurement, level))
    wanted = sigmas > 0
    if not wanted.any():
        return CommonError()
    spots, image = _gradients(measurement)
    spots = spots[wanted]
    power = float(np.mean(image**2))
    if power == 0:
        return CommonError()
    found = np.zeros(2)
    found[wanted] = np.linalg.solve(spots @ spots.T + power * np.diag(sigmas[wanted] ** -2.0), spots @ image)
    return CommonError(*map(float, found))


def spot_sizes(measurement: Measurement) -> tuple[float, float]:
    """The constant of the common error and one standard deviation of it, from the data alone: nothing is expected."""
    spots, image = _gradients(measurement)
    products = spots @ spots.T
    if np.linalg.matrix_rank(products) < len(products):
        return 0.0, 0.0
    found = np.linalg.solve(products, spots @ image)
    power = float(np.mean((image - found @ spots) ** 2))
    return float(found[0]), float(np.sqrt(power * np.linalg.inv(products)[0, 0]))


def prior_sigmas(measurement: Measurement, level: float = MASK_LEVEL) -> tuple[float, float]:
    """One standard deviation of the constant and of the edges' share before the data are asked; 0: there is none.

    Parameters
    ----------
    measurement : Measurement
    level : float, optional
        Relative sigma of the light that a mask passes more than designed, `MASK_LEVEL` by default; 0 leaves b_0's noise
        alone.

    Returns
    -------
    (float, float)
        In the unit of the coefficients.
    """
    source, constant = measurement.source, measurement.sigma_common
    if source.get("coding") != "binary" or _TAKEN_OFF in source or "tile_maps_sha256" in source:
        return constant, 0.0
    light = abs(float(measurement.coefficient[measurement.pattern_index == 0][0]))
    masks = level * (2 - measurement.d_r) / measurement.d_r * light
    return (constant, masks) if measurement.pattern_error is None else (math.hypot(constant, masks), 0.0)


def without_common_error(measurement: Measurement, level: float = MASK_LEVEL) -> tuple[Measurement, CommonError]:
    """The measurement with its common error taken off, and that error.

    Parameters
    ----------
    measurement : Measurement
    level : float, optional
        As for `prior_sigmas`; `MASK_LEVEL` by default.
    """
    error = estimate_common_error(measurement, level)
    if error == CommonError():
        return measurement, error
    coefficient = measurement.coefficient - error.at_patterns(measurement.pattern_index, measurement.size)
    source = {**measurement.source, _TAKEN_OFF: (error.constant, error.edges)}
    return replace(measurement, coefficient=coefficient, sigma_common=0.0, source=source), error


def without_common_part(residual: Array, measurement: Measurement) -> Array:
    """Residuals of the coefficients without what a common error of the expected sizes explains of them.

    Parameters
    ----------
    residual : ndarray, shape (M,)
        Measured less predicted coefficients.
    measurement : Measurement
        That they belong to.

    Returns
    -------
    ndarray, shape (M,)
    """
    variance = float(np.mean(measurement.sigma**2))
    sigmas = np.array(prior_sigmas(measurement))
    wanted = sigmas > 0
    if not wanted.any():
        return residual
    shapes = np.array(_shapes(measurement.pattern_index, measurement.size))[wanted]
    found = np.linalg.solve(shapes @ shapes.T + variance * np.diag(sigmas[wanted] ** -2.0), shapes @ residual)
    left: Array = residual - found @ shapes
    return left


def _shapes(pattern_index: NDArray[np.int64], size: int) -> tuple[Array, Array]:
    """1 and (u + v) / n for each pattern, 0 for k = 0."""
    u, v = sequency_grid(size)
    others = (pattern_index != 0).astype(np.float64)
    return others, others * (np.ravel(u) + np.ravel(v))[pattern_index] / size


def _gradients(measurement: Measurement) -> tuple[Array, Array]:
    """Of both shapes, and of the zero-filled inverse."""
    index, size = measurement.pattern_index, measurement.size
    spots = np.array([_gradient_of(shape, index, size) for shape in _shapes(index, size)])
    return spots, _gradient_of(measurement.coefficient, index, size)


def _gradient_of(values: Array, pattern_index: NDArray[np.int64], size: int) -> Array:
    grid = np.zeros(size * size)
    grid[pattern_index] = values
    image = walsh_hadamard_2d(grid.reshape(size, size))
    return np.concatenate([np.diff(image, axis=0).ravel(), np.diff(image, axis=1).ravel()])


# ---------------------------------------------------------------- light level


_MIN_SHARE = 0.05  # of the light of the open beam
_SIGMAS = 8.0


def detect_modulation_error(measurement: Measurement) -> float | None:
    """Detect how much more light all masks pass than d_r and dark level give, as a share of the open beam's; else None.

    Only for binary masks, and only where it is beyond what etching, noise and an object could be.
    """
    if measurement.source.get("coding") != "binary" or "tile_maps_sha256" in measurement.source:
        return None
    light = float(measurement.coefficient[measurement.pattern_index == 0][0])
    constant, sigma = spot_sizes(measurement)
    share = constant * measurement.d_r / (2 * light) if light else 0.0
    return share if abs(share) > _MIN_SHARE and abs(constant) > _SIGMAS * sigma else None
