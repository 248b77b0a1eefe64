"""The error of b_0 that all coefficients of a binary measurement share.

Every s_k with k > 0 has the same multiple of b_0 subtracted, so an error of b_0 adds one constant
to all of them. In the image that is a bright or dark spot at pixel (0, 0), as sharp as the measured
patterns allow. An object rarely has exactly such a spot, so its size can be told from the data.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..measurement import Measurement
from ..patterns import walsh_hadamard_2d

Array = NDArray[np.float64]


def common_offset(measurement: Measurement) -> float:
    """Most probable constant in the coefficients k > 0, in their unit.

    The gradient of the zero-filled inverse is taken as Gaussian with its mean power everywhere, the
    constant as Gaussian with `sigma_common`: linear least squares for one number. 0 where
    `sigma_common` is 0.
    """
    if measurement.sigma_common == 0:
        return 0.0
    others = measurement.measured_grid().astype(float)
    others[0, 0] = 0
    spot = _gradient(walsh_hadamard_2d(others))
    image = _gradient(walsh_hadamard_2d(measurement.coefficient_grid()))
    power = float(np.mean(image**2))
    if power == 0:
        return 0.0
    return float(image @ spot / (spot @ spot + power / measurement.sigma_common**2))


def without_common_offset(measurement: Measurement) -> tuple[Measurement, float]:
    """The measurement with the constant taken off the coefficients k > 0, and the constant."""
    offset = common_offset(measurement)
    if offset == 0:
        return measurement, 0.0
    others = measurement.pattern_index != 0
    return replace(measurement, coefficient=measurement.coefficient - offset * others, sigma_common=0.0), offset


def _gradient(image: Array) -> Array:
    return np.concatenate([np.diff(image, axis=0).ravel(), np.diff(image, axis=1).ravel()])
