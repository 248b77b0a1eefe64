"""The PSNR of an image without a truth, from validation patterns that were drawn with known probabilities.

By Parseval N^2 MSE = sum over all N patterns of (s_k - shat_k)^2, with s_k the object's coefficient and shat_k the
image's. It has three parts:

- Neither measured nor chosen: the mean over all draws of ((y_k - shat_k)^2 - sigma_k^2) / q_k, 0 for a draw of any
  other pattern (M. H. Hansen, W. N. Hurwitz, Ann. Math. Stat. 14, 333 (1943)).
- Chosen: a validation pattern that the choosing rule wanted counts once, as it is. The rule wants what it expects to
  be large: divided by their probabilities, a few such patterns would stand for many that have been measured.
- Measured: what an image leaves of the noise of its own patterns.

Sigma is noise and model error together (`error_model.noise`).
"""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...masks.pattern_set import coefficients
from ...measurement.measurement import Measurement
from ...measurement.validation import ValidationDraws
from ..error_model.common_mode import CommonError
from ..error_model.noise import PreparedMeasurement, error_shares, mask_knowledge, with_model_error
from ..registry import find_method
from ..result import Reconstruction

Array = NDArray[np.float64]

MIN_DRAWS = 16
NOISE_KEPT = 0.5  # share of the measured coefficients' noise that is left in an image
_LOW_SIDE = 1.25  # of the standard error: the few patterns that hold most of an error are more often missed than drawn
_NOISE_KEPT_ERROR = 0.2  # one standard deviation of it, over images


@dataclass(frozen=True)
class PsnrEstimate:
    """An estimate of the PSNR of an image.

    Attributes
    ----------
    psnr_db : float
        The peak is a transmission of 1, or the image's own range where its scale is "relative".
    low_db, high_db : float
        68 % interval (benchmarks/psnr_estimate.py): of the mean square error one standard error down, and of its
        logarithm 1.25 up.
    draws : int
        How many draws were counted.
    """

    psnr_db: float
    low_db: float
    high_db: float
    draws: int


@dataclass(frozen=True)
class _Part:
    """A part of N^2 MSE and its variance."""

    sum: float
    variance: float


def estimate_psnr(
    measurement: Measurement, image: NDArray[Any], *, draws: ValidationDraws, chosen: Collection[int] = ()
) -> PsnrEstimate | None:
    """Estimate the PSNR of an image.

    Parameters
    ----------
    measurement : Measurement
        That the image was made from, with its validation patterns.
    image : ndarray, shape (n, n)
        As `Reconstruction.image`.
    draws : ValidationDraws
        The draws made so far, in the order of drawing: of patterns that were exposed as validation, or that the scan
        had measured before their turn. Others are left out.
    chosen : collection of int, optional
        Validation patterns that the choosing rule wanted (`choose.Batch.wanted`).

    Returns
    -------
    PsnrEstimate or None
        None for fewer than 16 draws.
    """
    size, patterns = measurement.size, measurement.size**2
    prepared, common = _prepare(measurement)
    error = _ValidationError.from_measurement(prepared, common, measurement.to_beam_view(image))
    measured = np.zeros(patterns, dtype=bool)
    measured[measurement.pattern_index] = True
    draws = draws.where(measured[draws.pattern_index] | error.known[draws.pattern_index])
    if len(draws) < MIN_DRAWS:
        return None
    wanted = np.zeros(patterns, dtype=bool)
    wanted[list(chosen)] = True
    wanted &= error.known & ~measured
    parts = [
        _sum_unmeasured(error, draws, ~(measured | wanted)),
        _sum_chosen(error, wanted),
        _sum_measured(prepared),
    ]
    peak = 1.0 if measurement.scale == "transmission" else float(np.ptp(image))
    return _to_estimate(parts, peak * size * size, len(draws))


def with_psnr(result: Reconstruction, measurement: Measurement) -> Reconstruction:
    """The image with its estimated PSNR and interval (``quality["psnr_db"]``, ``"psnr_low_db"``, ``"psnr_high_db"``).

    As it is where nothing can be claimed: without validation draws, or with too few, and for a covariance.

    Parameters
    ----------
    result : Reconstruction
    measurement : Measurement
        That it was made from.
    """
    if measurement.draws is None or find_method(result.method).is_covariance:
        return result
    found = estimate_psnr(measurement, result.image, draws=measurement.draws, chosen=measurement.wanted)
    if found is None:
        return result
    claim = {"psnr_db": found.psnr_db, "psnr_low_db": found.low_db, "psnr_high_db": found.high_db}
    return replace(result, quality={**result.quality, **claim})


def _prepare(measurement: Measurement) -> tuple[PreparedMeasurement, CommonError]:
    prepared = PreparedMeasurement.from_measurement(measurement)
    return prepared.without_common_error() if measurement.masks is None else (prepared, CommonError())


@dataclass(frozen=True, eq=False)
class _ValidationError:
    """Squared errors of an image at the validation patterns, their noise taken off; shape (N,), 0 elsewhere."""

    square: Array
    variance: Array  # of `square` by noise alone
    known: NDArray[np.bool_]

    @classmethod
    def from_measurement(
        cls, prepared: PreparedMeasurement, common: CommonError, image: NDArray[Any]
    ) -> _ValidationError:
        patterns, beyond = prepared.size**2, prepared.validation
        square, variance, known = np.zeros(patterns), np.zeros(patterns), np.zeros(patterns, dtype=bool)
        if beyond is not None and len(beyond):
            index = beyond.index
            plain = beyond.value - coefficients(image, index)
            # The common error is known by the measured patterns; beyond them it may be worse than none.
            miss = min(plain, plain - common.at_patterns(index, prepared.size), key=lambda one: float(one @ one))
            noise = _validation_variance(prepared, index)
            square[index], known[index] = miss**2 - noise, True
            variance[index] = 2 * noise**2 + 4 * noise * np.maximum(miss**2 - noise, 0)
        return cls(square, variance, known)


def _sum_unmeasured(error: _ValidationError, draws: ValidationDraws, unmeasured: NDArray[np.bool_]) -> _Part:
    """All patterns that are neither measured nor chosen: the mean over the draws."""
    each = np.where(unmeasured[draws.pattern_index], error.square[draws.pattern_index] / draws.probability, 0.0)
    return _Part(float(each.mean()), float(each.var(ddof=1)) / len(each))


def _sum_chosen(error: _ValidationError, wanted: NDArray[np.bool_]) -> _Part:
    """Each once, as it is."""
    return _Part(float(error.square[wanted].sum()), float(error.variance[wanted].sum()))


def _sum_measured(prepared: PreparedMeasurement) -> _Part:
    """What the image keeps of the noise."""
    noise = float(np.sum(with_model_error(prepared, prepared.noise).sigma ** 2))
    return _Part(NOISE_KEPT * noise, (_NOISE_KEPT_ERROR * noise) ** 2)


def _validation_variance(prepared: PreparedMeasurement, index: NDArray[np.int64]) -> Array:
    """Of validation patterns: noise and model error, and what a reference scan would have taken off."""
    beyond, noise = prepared.validation, prepared.noise
    assert beyond is not None
    own = (
        beyond.sigma if beyond.sigma is not None and not prepared.sigma_is_guessed else np.full(len(index), noise.sigma)
    )
    shares = error_shares(prepared.size, mask_knowledge(prepared)).ravel()
    variance: Array = own**2 + noise.model_sigma**2 * shares[index] / shares[prepared.pattern_index].mean()
    return variance


def _to_estimate(parts: list[_Part], peak: float, draws: int) -> PsnrEstimate | None:
    """PSNR of the sum of the parts: its lower end as if the logarithm were normal, its upper end as if the sum were."""
    total = sum(part.sum for part in parts)
    least = parts[-1].sum
    total = max(total, least)
    if not (total > 0 and peak > 0):
        return None
    spread = math.sqrt(sum(part.variance for part in parts)) / total
    psnr = 10 * math.log10(peak**2 / total)
    half = 10 * spread / math.log(10)
    smallest = max(total * (1 - spread), least, 0.01 * total)  # what is measured is wrong by so much at least
    return PsnrEstimate(psnr, psnr - _LOW_SIDE * half, psnr + 10 * math.log10(total / smallest), draws)
