"""TV/L2: least squares on the measured coefficients plus total variation, for non-negative images.

min_x  1/2 sum_k w_k ((A x)_k - c_k)^2 + lambda TV(x)  for x >= 0,  c = s / n the orthonormal
coefficients, solved by the primal-dual algorithm of Chambolle and Pock (2011), over-relaxed. A has
orthonormal rows, so the proximal step of the data term is two fast transforms.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from ...errors import CxgiError
from ...measurement.measurement import Measurement
from ..error_model.common_mode import MASK_LEVEL, without_common_error
from .linear import check_choice

if TYPE_CHECKING:
    from ..error_model.noise import ErrorSizes

Image = NDArray[np.float32]
Norm = Literal["symmetric", "isotropic", "anisotropic"]

_SMALLEST_WEIGHT = 1e-3  # of the image's deviation: the limit of exact data, still solvable
_STEP = 0.1  # primal step = _STEP * deviation / weight: about 90 iterations from exact data to 0 dB
_RELAXATION = 1.8


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


def tv(
    measurement: Measurement,
    *,
    weight: float | None = None,
    norm: Norm = "symmetric",
    nonnegative: bool = True,
    iterations: int = 300,
    tolerance: float = 1e-4,
    mask_level: float = MASK_LEVEL,
    warm: WarmStart | None = None,
    sizes: ErrorSizes | None = None,
) -> tuple[Image, dict[str, Any]]:
    """TV/L2 reconstruction.

    Parameters
    ----------
    measurement : Measurement
    weight : float, optional
        Weight of the total variation for orthonormal coefficients, in the unit of the image.
        By default it follows from the noise, the model error and the picture's own gradients, see
        `model_error` and `weight`.
    norm : {"symmetric", "isotropic", "anisotropic"}
        Length of the gradient: Euclidean, as the mean over the four pairs of forward and backward
        differences (no diagonal is favoured) or with forward differences alone; or the sum over both
        directions (for objects whose edges follow the pixels).
    nonnegative : bool
        No transmission is below 0.
    iterations : int
        At most so many.
    tolerance : float
        Stops when the image changes by less than this fraction of its deviation in an iteration.
    mask_level : float
        How much more or less light than designed etched masks may pass (relative sigma); what that adds to the
        coefficients is told from the data (`common_error`). 0: masks as designed, only b_0 is uncertain.
    warm : WarmStart, optional
        For a series of growing measurements, as in a running scan.
    sizes : ErrorSizes, optional
        Where other steps have found, or will look for, the error size of this measurement.

    Returns
    -------
    image : ndarray, shape (n, n)
    parameters : dict
        weight and where it came from, norm, iterations done, what stopped the iteration, and the
        `common_offset` and `edge_error` taken off (`common_error`).

    Raises
    ------
    CxgiError
        If the weight is negative or not finite, or the norm unknown.
    """
    check_choice("norm", norm, Norm)
    if weight is not None and not (math.isfinite(weight) and weight >= 0):
        raise CxgiError(f"weight {weight} of the total variation is not a number >= 0")
    weight = None if weight is None else float(weight)
    measurement, common = without_common_error(measurement, mask_level)
    chosen: dict[str, Any] = {"weight": weight, "weight_origin": "given"}
    if weight is None:
        measurement, weight, warm, chosen = _choose(measurement, nonnegative, warm, sizes)
    warm = WarmStart() if warm is None else warm
    problem = Problem.of(measurement, norm=norm, nonnegative=nonnegative)
    done, stopped_by = problem.solve(weight, warm, iterations=iterations, tolerance=tolerance)
    assert warm.image is not None
    image = np.maximum(warm.image, 0) if nonnegative else warm.image.copy()  # the last step may overshoot a little
    return image, {
        **chosen,
        "norm": norm,
        "nonnegative": nonnegative,
        "iterations": done,
        "stopped_by": stopped_by,
        "tolerance": tolerance,
        "common_offset": common.constant,
        "edge_error": common.edges,
    }


def _choose(
    measurement: Measurement, nonnegative: bool, warm: WarmStart | None, sizes: ErrorSizes | None
) -> tuple[Measurement, float, WarmStart, dict[str, Any]]:
    """Measurement with its full sigma, the weight, where to start, and what is to be told of it."""
    from ..error_model.noise import ErrorSizes, with_model_error
    from ..solvers.regularization import chosen_weight

    size, trial = (sizes or ErrorSizes()).of(measurement, nonnegative=nonnegative)
    measurement = with_model_error(measurement, size)
    weight = chosen_weight(measurement, trial)
    told = {
        "weight": weight,
        "weight_origin": "noise, model error and gradients",
        "sigma": size.sigma,
        "model_sigma": size.model_sigma,
        "sigma_origin": size.origin,
    }
    if warm is None:
        warm = WarmStart()
    if warm.image is None and trial is not None:
        warm.image = trial
    return measurement, weight, warm, told


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
    def of(cls, measurement: Measurement, *, norm: Norm = "symmetric", nonnegative: bool = True) -> Problem:
        """The problem of a measurement."""
        size = measurement.size
        others = measurement.coefficient[measurement.pattern_index != 0] / size
        deviation = math.sqrt(float(np.sum(others**2))) / size
        coefficient = (measurement.coefficient_grid() / size).astype(np.float32)
        measured, sigma = measurement.measured_grid(), measurement.sigma_grid()
        importance = importance_of(measured, np.where(measured, sigma, 0) ** 2)
        return cls(coefficient, importance, deviation, norm, nonnegative)

    def solve(self, weight: float, warm: WarmStart, *, iterations: int, tolerance: float) -> tuple[int, str]:
        """Continue from `warm` and leave the solution there; returns iterations and what stopped them."""
        from ..solvers.kernels import (
            primal_dual,
            symmetric_primal_dual,
            walsh_hadamard,  # compiled on first use
        )

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
        weight = float(max(weight, _SMALLEST_WEIGHT * self.deviation))
        if warm.weight > 0:
            warm.dual *= np.float32(weight / warm.weight)
        warm.weight = weight
        step = _STEP * self.deviation / weight
        pull = step * self.importance / (1 + step * self.importance)
        data = (self.coefficient, pull, weight, step, _RELAXATION)
        limits = (self.nonnegative, iterations, tolerance * self.deviation)
        if self.norm == "symmetric":
            done = symmetric_primal_dual(*data, *limits, warm.image, warm.dual, warm.sign)
        else:
            done = primal_dual(*data, self.norm == "isotropic", *limits, warm.image, warm.dual, warm.sign)
        return done, "tolerance" if done < iterations else "iterations"


def importance_of(measured: NDArray[np.bool_], variance: NDArray[Any]) -> Image:
    """Weights w_k of the data term on the grid: inverse variances, 1 for the mean variance, 0 where not measured."""
    told = variance[measured]
    mean = float(np.mean(told))
    grid: Image = measured.astype(np.float32)
    if mean > 0:
        floor = 0.0025 * mean  # a vanishing sigma must not rule alone
        grid[measured] = mean / np.maximum(told, floor)
    return grid
