"""Uncertainty of each pixel, one standard deviation.

Two questions are answered. *noise*: how far do the errors of the buckets move the pixel (detector noise, and
errors of the masks where the data show them)? *error*: how far is it from the truth? The linear methods
answer the first in closed form; their error lies mostly in the patterns that were not measured, of which
they say nothing. For `tv` both are drawn: pictures are made again with fresh noise (noise), or with fresh
noise and without an eighth of the patterns (error), and their scatter is taken; the scatter of the second
kind is brought to the scale of true errors by a law fitted to random objects (benchmarks/uncertainty.py),
in which the patterns left out of each draw tell how well they were predicted.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from ..errors import CxgiError
from ..measurement import Measurement
from ..patterns import coefficients, walsh_hadamard_2d
from .common_offset import without_common_offset
from .correlation import Weighting, check_choice, exposure_shares
from .model_error import error_size, held_back_rows, with_model_error
from .total_variation import Norm, Problem, WarmStart
from .weight import chosen_weight

Array = NDArray[np.float64]
Kind = Literal["noise", "error"]

DRAWS = 24
_DRAW_ITERATIONS, _DRAW_TOLERANCE = 100, 5e-4
# error = e^a S (hypot(s, f S) / S)^g, S the rms of the scatter s, and
# a = a0 + a1 ln(rms residual of the patterns left out / S) + a2 ln(sigma of a pixel / S)
LAW: Mapping[str, float] = {"a0": -1.095, "a1": 0.855, "a2": -0.173, "f": 0.242, "g": 1.972}


@dataclass(frozen=True, eq=False)
class Scatter:
    """Scatter of pictures drawn again.

    Attributes
    ----------
    pixel : ndarray, shape (n, n)
        Standard deviation of each pixel.
    residual : float
        Rms difference of prediction and measurement for the patterns left out, per pixel (0 if none was).
    sigma : float
        Noise and model error of a coefficient, per pixel.
    """

    pixel: Array
    residual: float
    sigma: float


def uncertainty(measurement: Measurement, *, method: str, kind: Kind = "noise", seed: int = 0, **options: Any) -> Array:
    """One standard deviation of each pixel, shape (n, n), in the unit of the picture.

    Parameters
    ----------
    measurement : Measurement
    method : {"inverse", "correlation", "tv"}
    kind : {"noise", "error"}
        "error" is known for tv only.
    seed : int
        Of the draws.
    **options
        Of the method, as far as the uncertainty depends on them.

    Raises
    ------
    CxgiError
        For a method or kind without an uncertainty.
    """
    check_choice("kind", kind, Kind)
    if method == "tv":
        known = {name: options[name] for name in ("weight", "norm", "nonnegative") if name in options}
        drawn = scatter(measurement, leave_out=kind == "error", seed=seed, **known)
        return calibrated(drawn) if kind == "error" else drawn.pixel
    if kind == "error" or method not in ("inverse", "correlation"):
        raise CxgiError(f"method {method!r} has no uncertainty of kind {kind!r}: take inverse, correlation or tv")
    measurement = with_model_error(measurement, error_size(measurement)[0])
    if method == "inverse":
        return inverse_noise(measurement)
    return correlation_noise(measurement, weighting=options.get("weighting", "equal"), form=options.get("form", "GI"))


def inverse_noise(measurement: Measurement) -> Array:
    """Noise of the zero-filled inverse: the same everywhere, but for the error of b_0 that all s_k share.

    var(x) = (sum_k sigma_k^2 + sigma_c^2 (sum_k>0 H_k(x))^2) / N^2.
    """
    size = measurement.size
    others = measurement.measured_grid().astype(np.float64)
    others[0, 0] = 0
    spot = walsh_hadamard_2d(others) * measurement.sigma_common
    return np.sqrt(float(np.sum(measurement.sigma**2)) + spot**2) / size**2


def correlation_noise(measurement: Measurement, *, weighting: Weighting = "equal", form: str = "GI") -> Array:
    """Noise of the second-order correlation.

    The image is sum_k a_k s_k with a_k = p_k (H_k - <H>) / 2, p_k the shares of the exposures, so
    var(x) = (1/4) (sum p^2 sigma^2 + <H>^2 sum p^2 sigma^2 - 2 <H> sum p^2 sigma^2 H_k(x)): two fast
    transforms. The error that b_0 gives to all s_k drops out with their mean. Pixel (0, 0) is the
    mean of three neighbours, whose noise is independent as far as few patterns tell them apart.
    """
    size = measurement.size
    share, square = np.zeros(size * size), np.zeros(size * size)
    others = measurement.pattern_index != 0
    index = measurement.pattern_index[others]
    if not len(index):
        return np.zeros((size, size))
    share[index] = exposure_shares(measurement.sigma[others], weighting)
    square[index] = (share[index] * measurement.sigma[others]) ** 2
    mean = walsh_hadamard_2d(share.reshape(size, size))
    variance = square.sum() * (1 + mean**2) - 2 * mean * walsh_hadamard_2d(square.reshape(size, size))
    variance = np.maximum(variance, 0) / 4
    variance[0, 0] = (variance[0, 1] + variance[1, 0] + variance[1, 1]) / 9
    return np.sqrt(variance) / (size * size / 2 if form == "NGI" else 1)


def scatter(
    measurement: Measurement,
    *,
    leave_out: bool,
    seed: int = 0,
    draws: int = DRAWS,
    weight: float | None = None,
    norm: Norm = "symmetric",
    nonnegative: bool = True,
) -> Scatter:
    """Scatter of `tv` pictures with fresh noise, each without an eighth of the patterns if `leave_out`.

    Without leaving out, the noise is added to what the picture predicts (repeats of the scan of that
    object); with it, to what was measured. `weight`, `norm` and `nonnegative` are those of `tv`.
    """
    measurement, _ = without_common_offset(measurement)
    size, trial = error_size(measurement)
    measurement = with_model_error(measurement, size)
    weight = chosen_weight(measurement, trial) if weight is None else weight
    base = WarmStart()
    Problem.of(measurement, norm=norm, nonnegative=nonnegative).solve(
        weight, base, iterations=300, tolerance=_DRAW_TOLERANCE
    )
    assert base.image is not None
    coefficient = measurement.coefficient if leave_out else coefficients(base.image, measurement.pattern_index)
    rng = np.random.default_rng(seed)
    pictures, residuals = [], [0.0]
    for draw in range(draws):
        drawn = replace(measurement, coefficient=coefficient + measurement.sigma * rng.normal(size=len(measurement)))
        held = held_back_rows(measurement, seed + draw) if leave_out else np.empty(0, dtype=np.int64)
        kept = np.delete(np.arange(len(measurement)), held)
        warm = base.copy()
        problem = Problem.of(drawn.kept(kept), norm=norm, nonnegative=nonnegative)
        problem.solve(weight, warm, iterations=_DRAW_ITERATIONS, tolerance=_DRAW_TOLERANCE)
        assert warm.image is not None
        pictures.append(warm.image)
        if len(held):
            predicted = coefficients(warm.image, measurement.pattern_index[held])
            residuals.append(float(np.mean((predicted - measurement.coefficient[held]) ** 2)))
    residual = math.sqrt(sum(residuals) / max(1, len(residuals) - 1))
    pixel = np.std(np.array(pictures, dtype=np.float64), axis=0, ddof=1)
    return Scatter(pixel, residual / measurement.size, size.sigma / measurement.size)


def calibrated(drawn: Scatter, law: Mapping[str, float] = LAW) -> Array:
    """Scatter on the scale of true errors, shape (n, n)."""
    mean = math.sqrt(float(np.mean(drawn.pixel**2)))
    if mean == 0:
        return drawn.pixel
    a = law["a0"]
    a += law["a1"] * math.log(max(drawn.residual, 1e-3 * mean) / mean)
    a += law["a2"] * math.log(max(drawn.sigma, 1e-3 * mean) / mean)
    return math.exp(a) * mean * (np.hypot(drawn.pixel, law["f"] * mean) / mean) ** law["g"]
