"""The PSNR of an image without a truth, from validation patterns that were drawn with known probabilities.

By Parseval N^2 MSE = sum over all N patterns of (s_k - shat_k)^2, with s_k the object's coefficient and shat_k the
image's. It has two parts:

- Unmeasured: the mean over all draws of ((y_k - shat_k)^2 - sigma_k^2) / q_k, 0 for a draw of a pattern that the image
  was made from (M. H. Hansen, W. N. Hurwitz, Ann. Math. Stat. 14, 333 (1943)). That a rule has chosen the image's
  patterns changes nothing, as it does not know what was drawn.
- Measured: what an image leaves of the noise of its own patterns, most where its coefficients are above the noise.

Sigma is noise and model error together (`error_model.noise`).

Where noise is larger than what is to be found, a draw of a fine pattern multiplies it by a large 1 / q_k. Then the
first part is rather b sum of m_k, with (y_k - shat_k)^2 fitted by b m_k + a e_k + sigma_k^2: m_k is how the errors of
images of random objects are spread over the patterns, which falls with the sequency, and a e_k is noise that sigma does
not know of. The two estimates are averaged, each the more the less it errs. Behind etched masks that a reference scan
has corrected, what is left of their errors is larger than those of the image for most of all patterns: e_k is how the
errors of masks grow with the sequency, and the fit alone counts.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...masks.orders import power_share, sequency, sequency_grid
from ...masks.pattern_set import coefficients
from ...measurement.measurement import Measurement
from ...measurement.validation import ValidationDraws
from ..error_model.common_mode import CommonError
from ..error_model.noise import PreparedMeasurement, error_shares, mask_knowledge, with_model_error
from ..registry import find_method
from ..result import Reconstruction

Array = NDArray[np.float64]

MIN_DRAWS = 16
NOISE_KEPT = 0.85  # of the noise that the best linear filter of the coefficients, one by one, would leave
_NOISE_KEPT_ERROR = 0.4  # relative, one standard deviation of it, over images
_SIGMA_ERROR = 0.05  # relative: a detector's spread does not know of drift, source and stage
_LOW_SIDE = 1.25  # of the standard error: the few patterns that hold most of an error are more often missed than drawn
_SPREAD_OF_PRIOR, _SPREAD_OF_POWER = 0.13, 0.275  # exponents of m_k, fitted to images of random objects
_SPREAD_WIDTH = 2.0  # sign changes
_SPREAD_FLOOR = 1e-3  # of the mean power that an image has in unmeasured patterns
_SPREAD_ERROR = 0.35  # relative: m_k is not that of this object
_MASK_FLOOR = 0.02  # variance of the coarsest masks' errors, that of u + v = n is 1
_FIT_ERROR, _MASK_FIT_ERROR = 0.5, 0.85  # of the fit's standard error, to hold the truth in 68 % (benchmarks)
_ITERATIONS = 8


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


def estimate_psnr(measurement: Measurement, image: NDArray[Any], *, draws: ValidationDraws) -> PsnrEstimate | None:
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

    Returns
    -------
    PsnrEstimate or None
        None for fewer than 16 draws, or none of a pattern that the image lacks, and where an image without contrast
        would be as good by this: etched masks of which nothing is known are wrong by more than the image.
    """
    patterns = measurement.size**2
    prepared, common = _prepare(measurement)
    error = _ValidationError.from_measurement(prepared, common, measurement.to_beam_view(image))
    measured = np.zeros(patterns, dtype=bool)
    measured[measurement.pattern_index] = True
    draws = draws.where(measured[draws.pattern_index] | error.known[draws.pattern_index])
    unmeasured = ~measured
    outside = draws.where(unmeasured[draws.pattern_index])
    if len(draws) < MIN_DRAWS or not len(outside):
        return None
    spread = _spread(measurement.to_beam_view(image), unmeasured)
    left = float(spread[unmeasured].sum())
    if mask_knowledge(prepared) == "reference":
        fitted = _fit(error, outside, spread, _mask_shares(prepared.size))
        beyond = _Part(fitted.factor * left, (_MASK_FIT_ERROR * fitted.error * left) ** 2)
    else:
        drawn = _sum_unmeasured(error, draws, unmeasured)
        if drawn.sum > patterns * float(np.sum((image - image.mean()) ** 2)):
            return None
        fitted = _fit(error, outside, spread, np.ones(patterns))
        beyond = _combine(drawn, fitted.factor * left, fitted.error * left, error, draws, unmeasured)
    peak = 1.0 if measurement.scale == "transmission" else float(np.ptp(image))
    return _to_estimate([beyond, _sum_measured(prepared, measurement.to_beam_view(image))], peak * patterns, len(draws))


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
    found = estimate_psnr(measurement, result.image, draws=measurement.draws)
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
    noise: Array  # variance of the measured value
    known: NDArray[np.bool_]

    @classmethod
    def from_measurement(
        cls, prepared: PreparedMeasurement, common: CommonError, image: NDArray[Any]
    ) -> _ValidationError:
        patterns, beyond = prepared.size**2, prepared.validation
        square, taken_off = np.zeros((2, patterns))
        known = np.zeros(patterns, dtype=bool)
        if beyond is not None and len(beyond):
            index = beyond.index
            plain = beyond.value - coefficients(image, index)
            # The common error is known by the measured patterns; beyond them it may be worse than none.
            miss = min(plain, plain - common.at_patterns(index, prepared.size), key=lambda one: float(one @ one))
            noise = _validation_variance(prepared, index)
            square[index], known[index] = miss**2 - noise, True
            taken_off[index] = noise
        return cls(square, taken_off, known)


def _sum_unmeasured(error: _ValidationError, draws: ValidationDraws, unmeasured: NDArray[np.bool_]) -> _Part:
    """All patterns that the image was not made from: the mean over the draws."""
    each = np.where(unmeasured[draws.pattern_index], error.square[draws.pattern_index] / draws.probability, 0.0)
    return _Part(float(each.mean()), float(each.var(ddof=1)) / len(each))


def _spread(image: NDArray[Any], unmeasured: NDArray[np.bool_]) -> Array:
    """How the squared error of an image is spread over the patterns, shape (N,); 1 in the mean over the unmeasured."""
    size = len(image)
    power = coefficients(image, np.arange(size * size)) ** 2
    power[0] = 0
    mean = float(power[unmeasured].mean()) if unmeasured.any() else 0.0
    if mean == 0:
        return np.ones(size * size)
    smooth = _smooth(power) / mean + _SPREAD_FLOOR
    spread: Array = np.maximum(power_share(size), 1e-9) ** _SPREAD_OF_PRIOR * smooth**_SPREAD_OF_POWER
    return spread / spread[unmeasured].mean()


def _smooth(power: Array) -> Array:
    """Squared coefficients smoothed over neighbouring sequencies, shape (N,)."""
    from scipy.ndimage import gaussian_filter

    size = round(len(power) ** 0.5)
    by_sequency = np.argsort(sequency(size))
    grid = np.ix_(by_sequency, by_sequency)
    smooth = np.empty((size, size))
    smooth[grid] = gaussian_filter(power.reshape(size, size)[grid], _SPREAD_WIDTH)
    return smooth.ravel()


def _mask_shares(size: int) -> Array:
    """How the variance of etched masks' errors grows with the edges of a pattern, shape (N,)."""
    u, v = sequency_grid(size)
    return ((u + v) / size) ** 2 + _MASK_FLOOR


@dataclass(frozen=True)
class _Fit:
    """Squared error of the image where m_k is 1, and its standard error."""

    factor: float
    error: float


def _fit(error: _ValidationError, draws: ValidationDraws, spread: Array, others: Array) -> _Fit:
    """Fit b and a: least squares, weighted by the fit itself and by q^-1/2.

    The variance is the larger one of the scatter of the draws and of what squares of normal errors have.
    """
    from scipy.optimize import nnls

    index, sampled = draws.pattern_index, draws.probability**-0.5
    noise, beyond = error.noise[index], error.square[index]
    unit = float(np.mean(beyond + noise))
    if unit == 0:
        return _Fit(0.0, 0.0)
    laws = np.column_stack([spread[index], unit * others[index]])
    found = np.array([unit, 0.0])
    for _ in range(_ITERATIONS):
        expected = np.maximum(laws @ found + noise, 1e-6 * unit + np.finfo(float).tiny)
        weight = np.sqrt(sampled) / expected
        found, _ = nnls(laws * weight[:, None], beyond * weight)
    weighted = laws * (sampled / expected**2)[:, None]
    inverse = np.linalg.pinv(weighted.T @ laws)
    scatter, normal = (
        float((inverse @ (terms.T @ terms) @ inverse)[0, 0])
        for terms in (weighted * (beyond - laws @ found)[:, None], weighted * (np.sqrt(2) * expected)[:, None])
    )
    return _Fit(float(found[0]), math.sqrt(max(scatter, normal)))


def _combine(
    drawn: _Part,
    fitted: float,
    fit_error: float,
    error: _ValidationError,
    draws: ValidationDraws,
    unmeasured: NDArray[np.bool_],
) -> _Part:
    """Average what the draws and the fit say of the unmeasured patterns.

    Weighted by how much noise there is in the one and how little the other can be trusted; not by what was found, as
    draws that found little would be believed too much.
    """
    index = draws.pattern_index
    noise = np.where(unmeasured[index], 2 * (error.noise[index] / draws.probability) ** 2, 0.0).mean() / len(draws)
    sigma_error = (2 * _SIGMA_ERROR * unmeasured.sum() * error.noise[error.known].mean()) ** 2
    law_error = (_SPREAD_ERROR * max(fitted, drawn.sum)) ** 2
    share = float((noise + sigma_error) / (noise + sigma_error + law_error + np.finfo(float).tiny))
    return _Part(
        share * fitted + (1 - share) * drawn.sum,
        share**2 * ((_FIT_ERROR * fit_error) ** 2 + law_error) + (1 - share) ** 2 * (drawn.variance + sigma_error),
    )


def _sum_measured(prepared: PreparedMeasurement, image: NDArray[Any]) -> _Part:
    """What the image keeps of the noise of its own patterns."""
    variance = with_model_error(prepared, prepared.noise).sigma ** 2
    power = coefficients(image, prepared.pattern_index) ** 2
    kept = NOISE_KEPT * float(np.sum(variance * power / np.maximum(power + variance, np.finfo(float).tiny)))
    return _Part(kept, (_NOISE_KEPT_ERROR * kept) ** 2)


def _validation_variance(prepared: PreparedMeasurement, index: NDArray[np.int64]) -> Array:
    """Of validation patterns: noise and model error; behind corrected masks noise alone, the rest is fitted."""
    beyond, noise = prepared.validation, prepared.noise
    assert beyond is not None
    own = (
        beyond.sigma if beyond.sigma is not None and not prepared.sigma_is_guessed else np.full(len(index), noise.sigma)
    )
    if mask_knowledge(prepared) == "reference":
        return own**2
    shares = error_shares(prepared.size, mask_knowledge(prepared)).ravel()
    variance: Array = own**2 + noise.model_sigma**2 * shares[index] / shares[prepared.pattern_index].mean()
    return variance


def _to_estimate(parts: list[_Part], peak: float, draws: int) -> PsnrEstimate | None:
    """PSNR of the sum of the parts: its lower end as if the logarithm were normal, its upper end as if the sum were."""
    total = sum(part.sum for part in parts)
    measured = parts[-1]
    total = max(total, measured.sum)
    if not (total > 0 and peak > 0):
        return None
    spread = math.sqrt(sum(part.variance for part in parts)) / total
    psnr = 10 * math.log10(peak**2 / total)
    half = 10 * spread / math.log(10)
    smallest = max(total * (1 - spread), measured.sum - math.sqrt(measured.variance), 0.01 * total)
    return PsnrEstimate(psnr, psnr - _LOW_SIDE * half, psnr + 10 * math.log10(total / smallest), draws)
