"""The primal-dual solver of total variation: a problem on the grid, where a solution starts and ends, and its weight.

Chambolle and Pock (2011), over-relaxed. The sensing matrix has orthonormal rows, so the proximal step of the data term
is two fast transforms.

How much an image should be smoothed depends on the noise and on the image: the more its grey values change from
pixel to pixel, the less. Both are known from the data: sigma (noise and model error), and the mean gradient of an
initial image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ...measurement.measurement import Measurement

Image = NDArray[np.float32]
Norm = Literal["symmetric", "isotropic", "anisotropic"]

MIN_WEIGHT = 1e-3  # of the image's deviation: the limit of exact data, still solvable
STEP = 0.1  # primal step = STEP * deviation / weight: about 90 iterations from exact data to 0 dB
RELAXATION = 1.8
MIN_VARIANCE = 0.0025  # of the mean variance: a vanishing sigma must not rule alone


@dataclass(eq=False)
class WarmStart:
    """Where an earlier solution of nearly the same problem ended; `tv` starts there and leaves its own end.

    Attributes
    ----------
    image, dual, sign : ndarray or None
        Image, dual of its gradient and dual of the sign constraint, in the unit of the image.
    weight : float
        With which they were found.
    """

    image: Image | None = None
    dual: Image | None = None
    sign: Image | None = None
    weight: float = 0.0

    def copy(self) -> WarmStart:
        """A copy that later solutions do not change."""
        image, dual, sign = (None if a is None else a.copy() for a in (self.image, self.dual, self.sign))
        return WarmStart(image, dual, sign, self.weight)


@dataclass(frozen=True, eq=False)
class Problem:
    """The data term on the grid, and which total variation.

    Attributes
    ----------
    coefficient : ndarray, shape (n, n)
        Orthonormal coefficients, 0 where not measured.
    importance : ndarray, shape (n, n)
        w_k, 1 in the mean of the variances; 0 where not measured.
    deviation : float
        Standard deviation of the zero-filled inverse: the scale of tolerances and steps.
    """

    coefficient: Image
    importance: Image
    deviation: float
    norm: Norm
    nonnegative: bool

    @classmethod
    def from_measurement(
        cls, measurement: Measurement, *, norm: Norm = "symmetric", nonnegative: bool = True
    ) -> Problem:
        """The problem of a measurement.

        Parameters
        ----------
        measurement : Measurement
        norm : {"symmetric", "isotropic", "anisotropic"}, optional
            Length of the gradient, as for `tv`; "symmetric" by default.
        nonnegative : bool, optional
            No pixel is below 0 (the default).
        """
        size = measurement.size
        others = measurement.coefficient[measurement.pattern_index != 0] / size
        deviation = math.sqrt(float(np.sum(others**2))) / size
        coefficient = (measurement.coefficient_grid() / size).astype(np.float32)
        measured, sigma = measurement.sampling_grid(), measurement.sigma_grid()
        importance = importance_of(measured, np.where(measured, sigma, 0) ** 2)
        return cls(coefficient, importance, deviation, norm, nonnegative)

    def solve(self, weight: float, warm: WarmStart, *, iterations: int, tolerance: float) -> tuple[int, str]:
        """Continue from `warm` and leave the solution there; returns iterations and what stopped them.

        Parameters
        ----------
        weight : float
            Weight of the total variation for orthonormal coefficients, in the unit of the image.
        warm : WarmStart
            An empty one begins with the zero-filled inverse.
        iterations : int
            At most so many.
        tolerance : float
            Stops when the image changes by less than this fraction of its deviation in an iteration.

        Returns
        -------
        (int, {"flat", "tolerance", "iterations"})
        """
        from .kernels import primal_dual, symmetric_primal_dual, walsh_hadamard  # compiled on first use

        size = len(self.coefficient)
        field = (4, 2, size, size) if self.norm == "symmetric" else (2, size, size)
        if warm.image is None or warm.image.shape != (size, size):
            warm.image = self.coefficient.copy()
            walsh_hadamard(warm.image)
            warm.image /= np.float32(size)
            warm.dual = None
        if warm.dual is None or warm.sign is None or warm.dual.shape != field:
            warm.dual, warm.sign = np.zeros(field, np.float32), np.zeros((size, size), np.float32)
            warm.weight = 0.0
        if self.deviation == 0:  # flat, or the open pattern only: nothing to regularise
            return 0, "flat"
        weight = float(max(weight, MIN_WEIGHT * self.deviation))
        if warm.weight > 0:
            warm.dual *= np.float32(weight / warm.weight)
        warm.weight = weight
        step = STEP * self.deviation / weight
        pull = step * self.importance / (1 + step * self.importance)
        data = (self.coefficient, pull, weight, step, RELAXATION)
        limits = (self.nonnegative, iterations, tolerance * self.deviation)
        if self.norm == "symmetric":
            done = symmetric_primal_dual(*data, *limits, warm.image, warm.dual, warm.sign)
        else:
            done = primal_dual(*data, self.norm == "isotropic", *limits, warm.image, warm.dual, warm.sign)
        return done, "tolerance" if done < iterations else "iterations"


def importance_of(measured: NDArray[np.bool_], variance: NDArray[Any]) -> Image:
    """Weights w_k of the data term on the grid: inverse variances, 1 for the mean variance, 0 where not measured.

    Parameters
    ----------
    measured : ndarray of bool, shape (n, n)
        Where a coefficient was measured.
    variance : ndarray, shape (n, n)
        Of each coefficient; any number where not measured.
    """
    measured_variance = variance[measured]
    mean = float(np.mean(measured_variance))
    grid: Image = measured.astype(np.float32)
    if mean > 0:
        grid[measured] = mean / np.maximum(measured_variance, MIN_VARIANCE * mean)
    return grid


# ---------------------------------------------------------------- the weight of the total variation, without the truth


INITIAL_WEIGHT_IN_SIGMA = 0.5

# ln(weight / sigma) = a + b ln(mean gradient / sigma) + c ln(sigma / rms coefficient) + d ln(fraction),
# fitted by benchmarks/weight_law.py to random objects of the training families, never to evaluation objects.
LAW = (-1.07, -0.89, -0.56, 0.98)
WEIGHT_RANGE = (0.025, 1.0)  # in sigma: of the fit
MIN_STEEPNESS = 1e-6  # of a flat image


def choose_weight(measurement: Measurement, initial: NDArray[np.float32] | None) -> float:
    """Choose the weight for orthonormal coefficients, in the unit of the image.

    Parameters
    ----------
    measurement : Measurement
        With its full sigma, model error included.
    initial : ndarray, shape (n, n), or None
        An image made with a weight of `INITIAL_WEIGHT_IN_SIGMA`; without one, that is the answer.
    """
    sigma = float(np.sqrt(np.mean(measurement.sigma**2)))
    others = measurement.coefficient[measurement.pattern_index != 0]
    rms = float(np.sqrt(np.mean(others**2))) if len(others) else 0.0
    pixel_sigma = sigma / measurement.size
    if initial is None:
        return INITIAL_WEIGHT_IN_SIGMA * pixel_sigma
    return weight_by_law(pixel_sigma, rms / measurement.size, mean_gradient(initial), measurement.fraction)


def weight_by_law(sigma: float, rms: float, gradient: float, fraction: float) -> float:
    """Weight for orthonormal coefficients of this sigma and rms, all in the unit of the image.

    Parameters
    ----------
    sigma : float
        One standard deviation of a coefficient.
    rms : float
        Root mean square of the measured coefficients, k = 0 left out.
    gradient : float
        `mean_gradient` of an image made with `INITIAL_WEIGHT_IN_SIGMA`.
    fraction : float
        Sampling fraction M / N.
    """
    if sigma == 0 or rms == 0:
        return INITIAL_WEIGHT_IN_SIGMA * sigma
    steepness = max(gradient / sigma, MIN_STEEPNESS)
    a, b, c, d = LAW
    in_sigma = math.exp(a + b * math.log(steepness) + c * math.log(sigma / rms) + d * math.log(fraction))
    return min(max(in_sigma, WEIGHT_RANGE[0]), WEIGHT_RANGE[1]) * sigma


def mean_gradient(image: NDArray[np.float32]) -> float:
    """Mean length of the forward differences: the isotropic total variation per pixel."""
    down = np.diff(image, axis=0, append=image[-1:])
    along = np.diff(image, axis=1, append=image[:, -1:])
    return float(np.hypot(down, along).mean())
