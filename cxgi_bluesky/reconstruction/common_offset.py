"""The error that all coefficients of a binary measurement share.

Every s_k with k > 0 has the same multiple of b_0 subtracted: what half-open masks pass, (1 + T0) / 2, of the light.
An error of b_0, and masks that pass a little more than that (etched too far, T0 not quite known), add one constant
to all of them. In the image that is a bright or dark spot at pixel (0, 0), as sharp as the measured patterns allow.
An object rarely has exactly such a spot, so its size can be told from the data.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ..measurement import Measurement
from ..patterns import walsh_hadamard_2d

Array = NDArray[np.float64]

MASK_LEVEL = 0.02  # relative sigma of what a half-open mask passes; from 0.005 to 0.1 it makes no difference

_TAKEN_OFF = "common_offset"  # key of `source`: never twice


def offset_sigma(measurement: Measurement) -> float:
    """One standard deviation of the constant before the data are asked: of b_0's noise and of the masks' mean level.

    0 for codings in which no b_0 is subtracted.
    """
    if measurement.source.get("coding") != "binary" or _TAKEN_OFF in measurement.source:
        return measurement.sigma_common
    light = abs(float(measurement.coefficient[measurement.pattern_index == 0][0]))
    return math.hypot(measurement.sigma_common, MASK_LEVEL * (2 - measurement.d_r) / measurement.d_r * light)


def common_offset(measurement: Measurement) -> float:
    """Most probable constant in the coefficients k > 0, in their unit.

    The gradient of the zero-filled inverse is taken as Gaussian with its mean power everywhere, the
    constant as Gaussian with `offset_sigma`: linear least squares for one number. 0 where that is 0.
    """
    sigma = offset_sigma(measurement)
    if sigma == 0:
        return 0.0
    others = measurement.measured_grid().astype(float)
    others[0, 0] = 0
    spot = _gradient(walsh_hadamard_2d(others))
    image = _gradient(walsh_hadamard_2d(measurement.coefficient_grid()))
    power = float(np.mean(image**2))
    if power == 0:
        return 0.0
    return float(image @ spot / (spot @ spot + power / sigma**2))


def without_common_offset(measurement: Measurement) -> tuple[Measurement, float]:
    """The measurement with the constant taken off the coefficients k > 0, and the constant."""
    offset = common_offset(measurement)
    if offset == 0:
        return measurement, 0.0
    others = measurement.pattern_index != 0
    source = {**measurement.source, _TAKEN_OFF: offset}
    coefficient = measurement.coefficient - offset * others
    return replace(measurement, coefficient=coefficient, sigma_common=0.0, source=source), offset


def _gradient(image: Array) -> Array:
    return np.concatenate([np.diff(image, axis=0).ravel(), np.diff(image, axis=1).ravel()])
