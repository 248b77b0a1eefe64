"""TV/L2: least squares on the measured coefficients plus total variation, for non-negative images.

min_x  1/2 sum_k w_k ((A x)_k - c_k)^2 + lambda TV(x)  for x >= 0,  c = s / n the orthonormal
coefficients, solved by the primal-dual algorithm of Chambolle and Pock (2011), over-relaxed. A has
orthonormal rows, so the proximal step of the data term is two fast transforms.
"""

from __future__ import annotations

import math
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from ...errors import MeasurementError, check_choice
from ...measurement.measurement import Measurement
from ..error_model.calibration import calibrate, scales, scatter
from ..error_model.common_mode import MASK_LEVEL
from ..error_model.noise import PreparedMeasurement, estimate_noise, with_model_error
from ..error_model.resampling import resample
from ..solvers.primal_dual import Image, Norm, Problem, WarmStart, choose_weight


def check_weight(weight: float | None) -> None:
    """Raise `CxgiError` for what is no weight of the total variation."""
    if weight is not None and not (math.isfinite(weight) and weight >= 0):
        raise MeasurementError(f"weight {weight} of the total variation is not a number >= 0")


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
) -> tuple[Image, dict[str, Any]]:
    """TV/L2 reconstruction.

    Parameters
    ----------
    measurement : Measurement
    weight : float, optional
        Weight of the total variation for orthonormal coefficients, in the unit of the image.
        By default it follows from the noise, the model error and the image's own gradients, see
        `noise` and `regularization`.
    norm : {"symmetric", "isotropic", "anisotropic"}, optional
        Length of the gradient: Euclidean, as the mean over the four pairs of forward and backward
        differences (the default: no diagonal is favoured) or with forward differences alone; or the sum over both
        directions (for objects whose edges follow the pixels).
    nonnegative : bool, optional
        No transmission is below 0 (the default).
    iterations : int, optional
        At most so many; 300 by default.
    tolerance : float, optional
        Stops when the image changes by less than this fraction of its deviation in an iteration; 1e-4 by default.
    mask_level : float, optional
        How much more or less light than designed etched masks may pass (relative sigma), 0.02 by default; what that
        adds to the coefficients is found from the data (`common_mode`). 0: masks as designed, only b_0 is uncertain.
    warm : WarmStart, optional
        For a series of growing measurements, as in a running scan.

    Returns
    -------
    image : ndarray, shape (n, n)
    parameters : dict
        weight and where it came from, norm, iterations done, what stopped the iteration, and the
        `common_offset` and `edge_error` taken off (`common_mode`).

    Raises
    ------
    CxgiError
        If the weight is negative or not finite, or the norm unknown.
    """
    check_choice("norm", norm, get_args(Norm), kind=MeasurementError)
    check_weight(weight)
    weight = None if weight is None else float(weight)
    prepared, common = PreparedMeasurement.from_measurement(measurement).without_common_error(mask_level)
    measurement = prepared
    chosen: dict[str, Any] = {"weight": weight, "weight_origin": "given"}
    if weight is None:
        measurement, weight, warm, chosen = _choose(prepared, nonnegative, warm)
    warm = WarmStart() if warm is None else warm
    problem = Problem.from_measurement(measurement, norm=norm, nonnegative=nonnegative)
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
    prepared: PreparedMeasurement, nonnegative: bool, warm: WarmStart | None
) -> tuple[Measurement, float, WarmStart, dict[str, Any]]:
    """Measurement with its full sigma, the weight, where to start, and what is to be told of it."""
    noise = prepared.noise if nonnegative else estimate_noise(prepared, nonnegative=False)
    measurement = with_model_error(prepared, noise)
    weight = choose_weight(measurement, noise.initial_image)
    parameters = {
        "weight": weight,
        "weight_origin": "noise, model error and gradients",
        "sigma": noise.sigma,
        "model_sigma": noise.model_sigma,
        "sigma_origin": noise.origin,
    }
    if warm is None:
        warm = WarmStart()
    if warm.image is None and noise.initial_image is not None:
        warm.image = noise.initial_image.copy()  # which the solver changes
    return measurement, weight, warm, parameters


def tv_uncertainty(measurement: Measurement, *, of_error: bool, seed: int, **options: Any) -> NDArray[np.float64]:
    """One standard deviation of each pixel, from images that are made again with other noise.

    Parameters
    ----------
    measurement : Measurement
    of_error : bool
        The distance from the truth, for which an eighth of the patterns is left out as well; else the noise alone.
    seed : int
    **options
        weight, norm and nonnegative of `tv`.

    Returns
    -------
    ndarray, shape (n, n)
    """
    drawn = resample(measurement, leave_out=of_error, seed=seed, **options)
    if not of_error:
        return np.std(drawn.repeated, axis=0, ddof=1, dtype=np.float64)
    deviation = scatter(drawn)
    return calibrate(deviation, scales(drawn, deviation)) if deviation.any() else deviation
