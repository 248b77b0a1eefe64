"""Linear reconstructions: zero-filled inverse and second-order correlation (GI, DGI, NGI) in closed form.

With B the bucket, I = (1 + H) / 2 the mask and R what passes it without an object:

    GI   <(B - <B>) I>                 plain covariance
    DGI  <(B - <B>/<R> R) I>           Ferri et al. 2010: the common light is taken off
    NGI  <(B/R - <B/R>) I>             Sun et al. 2012: each bucket divided by its light

over the measured patterns except k = 0. All Hadamard masks but k = 0 are half open: R is the same for
all of them, and DGI is GI and NGI is GI / R exactly. The three differ for speckle (`speckle`) and
when R was measured.
"""

from __future__ import annotations

import math
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

from ...errors import MeasurementError, check_choice
from ...masks.transform import walsh_hadamard_2d
from ...measurement.measurement import Measurement
from ..error_model.noise import PreparedMeasurement, with_model_error

Array = NDArray[np.float64]
Form = Literal["GI", "DGI", "NGI"]
Weighting = Literal["equal", "sigma"]


def inverse(measurement: Measurement) -> tuple[Array, dict[str, Any]]:
    """Zero-filled inverse transform (1/N) sum_k s_k H_k, shape (n, n)."""
    return walsh_hadamard_2d(measurement.coefficient_grid()) / measurement.size**2, {}


def correlation(
    measurement: Measurement, *, form: Form = "GI", weighting: Weighting = "equal"
) -> tuple[Array, dict[str, Any]]:
    """Second-order correlation <B I> - <B><I> over the measured patterns except k = 0.

    With I = (1 + H) / 2 this is (1/2) sum_k p_k (s_k - <s>) H_k, p_k the normalised weights: one fast
    transform. Pixel (0, 0) is open in every pattern and has no covariance; it is filled from its
    neighbours.

    Parameters
    ----------
    measurement : Measurement
    form : {"GI", "DGI", "NGI"}, optional
        DGI equals GI, the default, and NGI is GI / R with R = N / 2, as every mask is half open.
    weighting : {"equal", "sigma"}, optional
        All exposures alike (the default), or each by 1 / sigma^2 (an exposure of longer time counts more).

    Raises
    ------
    CxgiError
        For an unknown form or weighting.
    """
    check_choice("form", form, get_args(Form), kind=MeasurementError)
    check_choice("weighting", weighting, get_args(Weighting), kind=MeasurementError)
    size = measurement.size
    bucket, share = np.zeros(size * size), np.zeros(size * size)
    bucket[measurement.pattern_index] = measurement.coefficient
    others = measurement.pattern_index != 0  # k = 0 has no part in it, nor has its sigma
    share[measurement.pattern_index[others]] = exposure_shares(measurement.sigma[others], weighting)
    return _covariance(bucket, share, form), {"form": form, "weighting": weighting}


def _covariance(bucket: Array, share: Array, form: Form) -> Array:
    """Closed form from a bucket and a share for each of the N patterns (0: not measured); k = 0 is left out.

    Sums run over the patterns by index, so that the order of measurement cannot change a bit of them.
    """
    size = math.isqrt(len(bucket))
    share = share.copy()
    share[0] = 0
    total = share.sum()
    if total == 0:
        return np.zeros((size, size))
    share /= total
    image = walsh_hadamard_2d((share * (bucket - share @ bucket) / 2).reshape(size, size))
    return fill_corner(image / (size * size / 2) if form == "NGI" else image)


def exposure_shares(sigma: Array, weighting: Weighting) -> Array:
    """Normalised weight of each exposure; equal where no sigma tells them apart.

    Parameters
    ----------
    sigma : ndarray, shape (exposures,)
        One standard deviation of each bucket, in any unit.
    weighting : {"equal", "sigma"}
        All alike, or each by 1 / sigma^2.

    Returns
    -------
    ndarray, shape (exposures,)
        Their sum is 1.
    """
    if weighting == "equal" or not (sigma > 0).all():
        return np.full(len(sigma), 1 / max(1, len(sigma)))
    weight = 1 / sigma**2
    return weight / weight.sum()


def fill_corner(image: Array) -> Array:
    """Replace pixel (0, 0) by the mean of its three neighbours."""
    image[0, 0] = (image[0, 1] + image[1, 0] + image[1, 1]) / 3
    return image


# ---------------------------------------------------------------- their noise


def inverse_noise(measurement: Measurement) -> Array:
    """Noise of the zero-filled inverse: the same everywhere, but for the error of b_0 that all s_k share.

    var(x) = (sum_k sigma_k^2 + sigma_c^2 (sum_k>0 H_k(x))^2) / N^2.

    Parameters
    ----------
    measurement : Measurement

    Returns
    -------
    ndarray, shape (n, n)
        One standard deviation of each pixel, in the unit of the image.
    """
    prepared = PreparedMeasurement.from_measurement(measurement)
    measurement = with_model_error(prepared, prepared.noise)
    size = measurement.size
    others = measurement.sampling_grid().astype(np.float64)
    others[0, 0] = 0
    spot = walsh_hadamard_2d(others) * measurement.sigma_common
    return np.sqrt(float(np.sum(measurement.sigma**2)) + spot**2) / size**2


def correlation_noise(measurement: Measurement, *, weighting: Weighting = "equal", form: str = "GI") -> Array:
    """Noise of the second-order correlation.

    The image is sum_k a_k s_k with a_k = p_k (H_k - <H>) / 2, p_k the shares of the exposures, so
    var(x) = (1/4) (sum p^2 sigma^2 + <H>^2 sum p^2 sigma^2 - 2 <H> sum p^2 sigma^2 H_k(x)): two fast
    transforms. The error that b_0 gives to all s_k drops out with their mean. Pixel (0, 0) is the
    mean of three neighbours, whose noise is independent as far as few patterns tell them apart.

    Parameters
    ----------
    measurement : Measurement
    weighting : {"equal", "sigma"}, optional
        As for `correlation`; "equal" by default.
    form : {"GI", "DGI", "NGI"}, optional
        As for `correlation`; "GI" by default.

    Returns
    -------
    ndarray, shape (n, n)
        One standard deviation of each pixel, in the unit of the image.
    """
    prepared = PreparedMeasurement.from_measurement(measurement)
    measurement = with_model_error(prepared, prepared.noise)
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
