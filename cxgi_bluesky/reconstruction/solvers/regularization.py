"""The weight of the total variation, chosen without the truth.

How much a picture should be smoothed depends on the noise and on the picture: the more its grey
values change from pixel to pixel, the less. Both are known from the data: sigma (noise and model
error), and the mean gradient of a trial picture.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from ...measurement.measurement import Measurement

TRIAL_WEIGHT_IN_SIGMA = 0.5

# ln(weight / sigma) = a + b ln(mean gradient / sigma) + c ln(sigma / rms coefficient) + d ln(fraction),
# fitted by benchmarks/weight_law.py to random objects of the training families, never to evaluation objects.
_LAW = (-1.07, -0.89, -0.56, 0.98)
_MIN_WEIGHT, _MAX_WEIGHT = 0.025, 1.0  # in sigma: the range of the fit


def chosen_weight(measurement: Measurement, trial: NDArray[np.float32] | None) -> float:
    """Weight for orthonormal coefficients, in the unit of the image.

    Parameters
    ----------
    measurement : Measurement
        With its full sigma, model error included.
    trial : ndarray, shape (n, n), or None
        A picture made with a weight of `TRIAL_WEIGHT_IN_SIGMA`; without one, that is the answer.
    """
    sigma = float(np.sqrt(np.mean(measurement.sigma**2)))
    others = measurement.coefficient[measurement.pattern_index != 0]
    rms = float(np.sqrt(np.mean(others**2))) if len(others) else 0.0
    pixel_sigma = sigma / measurement.size
    if trial is None:
        return TRIAL_WEIGHT_IN_SIGMA * pixel_sigma
    return weight_by_law(pixel_sigma, rms / measurement.size, mean_gradient(trial), measurement.fraction)


def weight_by_law(sigma: float, rms: float, gradient: float, fraction: float) -> float:
    """Weight for orthonormal coefficients of this sigma and rms, all in the unit of the image.

    Parameters
    ----------
    sigma : float
        One standard deviation of a coefficient.
    rms : float
        Root mean square of the measured coefficients, k = 0 left out.
    gradient : float
        `mean_gradient` of a picture made with `TRIAL_WEIGHT_IN_SIGMA`.
    fraction : float
        Sampling fraction M / N.
    """
    if sigma == 0 or rms == 0:
        return TRIAL_WEIGHT_IN_SIGMA * sigma
    steepness = max(gradient / sigma, 1e-6)
    a, b, c, d = _LAW
    in_sigma = math.exp(a + b * math.log(steepness) + c * math.log(sigma / rms) + d * math.log(fraction))
    return min(max(in_sigma, _MIN_WEIGHT), _MAX_WEIGHT) * sigma


def mean_gradient(image: NDArray[np.float32]) -> float:
    """Mean length of the forward differences: the isotropic total variation per pixel."""
    down = np.diff(image, axis=0, append=image[-1:])
    along = np.diff(image, axis=1, append=image[:, -1:])
    return float(np.hypot(down, along).mean())
