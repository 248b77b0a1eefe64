"""From resampled images to the error of each pixel: a law fitted to random objects, never to evaluation objects.

    error = S (hypot(s, S / 10) / S)^g exp(constant + sum of coefficient * ln(scale))

with s the scatter of the images without an eighth of the patterns and S its rms. The scales are lengths
of the same unit as the image, over S, and two pure numbers; the data tell them all (`scales`).
benchmarks/uncertainty.py fits and judges the law.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from ...masks.orders import sequency_grid
from ...measurement.measurement import Measurement
from ..solvers.primal_dual import mean_gradient
from .resampling import Resampled

Array = NDArray[np.float64]

FLOOR = 0.1  # of S: no pixel is surer than that
COVERED = 0.6827  # share of the pixels within one sigma
_MIN_SCALE = 1e-3  # of S: a scale that vanishes says no more than one that is so small
# `least` and `most` bound the logarithm to the range of the fit
LAW: Mapping[str, float] = {
    "g": 1.96,
    "least": -1.3,
    "most": 1.51,
    "constant": -0.627,
    "expected": 0.882,
    "residual": 0.49,
    "sigma": -1.166,
    "repeats": 1.192,
    "shift": -0.525,
    "gradient": -0.314,
    "tail": 0.951,
    "unevenness": 0.352,
}


def scatter(resampled: Resampled) -> Array:
    """Standard deviation of each pixel over the images without an eighth of the patterns, shape (n, n)."""
    return np.std(resampled.reduced, axis=0, ddof=1, dtype=np.float64)


def scales(resampled: Resampled, deviation: Array) -> dict[str, float]:
    """Logarithms of the scales of a image's error.

    Parameters
    ----------
    resampled : Redrawn
        With patterns left out.
    deviation : ndarray, shape (n, n)
        Its `scatter`, not 0 everywhere.

    Returns
    -------
    dict
        ``expected``, rms error if unmeasured coefficients are missed as the fall-off of those left out
        says and measured ones by sigma; ``residual``, rms miss of the patterns left out; ``sigma`` of a
        coefficient; ``repeats``, change of a repeated scan's image that 68 % of the pixels stay below;
        ``shift``, rms difference of the mean of the reduced images from the image; ``gradient``, its
        mean. And the two numbers ``tail``, the change that 68 % of the pixels of the reduced images
        stay below, over scatter, and ``unevenness``, <s^4> / S^4.
    """
    size, whole = resampled.measurement.size, rms(deviation)
    sigma = rms(resampled.measurement.sigma) / size
    change = np.abs(resampled.reduced - resampled.image)
    lengths = {
        "expected": extrapolate_error(resampled.measurement, resampled.left_out, resampled.missed),
        "residual": rms(resampled.missed) / size,
        "sigma": sigma,
        "repeats": float(np.quantile(np.abs(resampled.repeated - resampled.image), COVERED)),
        "shift": rms(resampled.reduced.mean(axis=0) - resampled.image),
        "gradient": mean_gradient(resampled.image),
    }
    found = {name: math.log(max(length / whole, _MIN_SCALE)) for name, length in lengths.items()}
    found["tail"] = math.log(max(float(np.quantile(change / np.hypot(deviation, FLOOR * whole), COVERED)), _MIN_SCALE))
    found["unevenness"] = math.log(float(np.mean((deviation / whole) ** 4)))
    return found


def calibrate(deviation: Array, found: Mapping[str, float], law: Mapping[str, float] = LAW) -> Array:
    """One sigma of the error of each pixel, shape (n, n), from scatter and `scales`.

    Parameters
    ----------
    deviation : ndarray, shape (n, n)
        `scatter` of the resampled images, in their unit; not 0 everywhere.
    found : mapping of str to float
        Their `scales`.
    law : mapping of str to float, optional
        Numbers of the law; by default `LAW`, which was fitted to random objects.
    """
    whole = rms(deviation)
    size = law["constant"] + sum(law[name] * value for name, value in found.items())
    return whole * math.exp(min(max(size, law["least"]), law["most"])) * shape(deviation) ** law["g"]


def shape(deviation: Array) -> Array:
    """hypot(s, S / 10) / S."""
    whole = rms(deviation)
    return np.hypot(deviation / whole, FLOOR)


def extrapolate_error(measurement: Measurement, left_out: NDArray[np.int64], missed: Array) -> float:
    """Rms error per pixel, by Parseval: sigma^2 where measured, elsewhere the extrapolated power of the misses.

    Their power is taken as c ((u+1)(v+1))^a |(u+1, v+1)|^b, u and v the sequencies, and fitted by a
    log-linear regression with errors in proportion to the mean (gamma).

    Parameters
    ----------
    measurement : Measurement
        With its full sigma, model error included.
    left_out : ndarray of int, shape (draws, m)
        pattern_index of the patterns left out of each reduced image.
    missed : ndarray, shape (draws, m)
        What that image predicts for them, less what was measured.

    Returns
    -------
    float
        In the unit of the image.
    """
    variance, unmeasured = float(np.mean(measurement.sigma**2)), ~measurement.sampling_grid().ravel()
    power, extrapolated = missed.ravel() ** 2, 0.0
    mean = float(power.mean()) if power.size else 0.0
    if mean > 0 and unmeasured.any():
        u, v = (grid + 1.0 for grid in sequency_grid(measurement.size))
        fineness = np.column_stack([np.ones(u.size), np.log(u * v), np.log(np.hypot(u, v))])
        slopes = _gamma_regression(fineness[left_out.ravel()], power / mean)
        exponent = fineness[unmeasured] @ slopes
        extrapolated = mean * float(np.exp(np.clip(exponent, -40, math.log(10))).sum())
    return math.sqrt(variance * len(measurement) + extrapolated) / measurement.size**2


def _gamma_regression(known: Array, power: Array) -> Array:
    """b of power = exp(known @ b), power 1 in the mean; the slopes are held back a little from running away."""
    b = np.zeros(known.shape[1])
    inverse = np.linalg.inv(known.T @ known + np.diag([1e-3, 5.0, 5.0]))
    for _ in range(20):
        surplus = np.clip(power / np.exp(np.clip(known @ b, -40, 40)) - 1, -3, 3)
        b = inverse @ (known.T @ (known @ b + surplus))
    return b


def rms(values: NDArray[np.floating]) -> float:
    """Root of the mean square; 0 of nothing."""
    return math.sqrt(float(np.mean(np.square(values, dtype=np.float64)))) if values.size else 0.0
