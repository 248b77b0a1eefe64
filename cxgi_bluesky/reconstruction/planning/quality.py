"""The PSNR of an image without a truth, from validation patterns that were drawn with known probabilities.

By Parseval N^2 MSE = sum over all N patterns of (s_k - shat_k)^2, with s_k the object's coefficient and shat_k the
image's. It has two parts:

- Unmeasured: the mean over all draws of ((y_k - shat_k)^2 - sigma_k^2) / q_k, 0 for a draw of a pattern that the image
  was made from (M. H. Hansen, W. N. Hurwitz, Ann. Math. Stat. 14, 333 (1943)). That a rule has chosen the image's
  patterns changes nothing, as it does not know what was drawn.
- Measured: what an image leaves of the noise of its own patterns.

Sigma is noise and model error together (`error_model.noise`).

Behind etched masks that a reference scan has corrected, what is left of their errors is larger than those of the image
for fine patterns, and so for most of all patterns. There (y_k - shat_k)^2 is fitted by b m_k + a e_k + sigma_k^2, with
m_k how the errors of images of random objects are spread over the patterns, which falls with the sequency, and e_k how
masks' errors are, which grows; b sum of m_k takes the place of the first part.
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
NOISE_KEPT = 0.5  # share of the measured coefficients' noise that is left in an image
_LOW_SIDE = 1.25  # of the standard error: the few patterns that hold most of an error are more often missed than drawn
_NOISE_KEPT_ERROR = 0.2  # one standard deviation of it, over images
_SPREAD_OF_PRIOR, _SPREAD_OF_POWER = 0.13, 0.275  # exponents of m_k, fitted to images of random objects
_SPREAD_WIDTH = 2.0  # sign changes
_SPREAD_FLOOR = 1e-3  # of the mean power that an image has in unmeasured patterns
_MASK_FLOOR = 0.02  # variance of the coarsest masks' errors, that of u + v = n is 1
_WIDER = 2.0  # of the fit's standard error: m_k and e_k are not those of this object and board
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
        None for fewer than 16 draws, and where an image without contrast would be as good by this: etched masks of
        which nothing is known are wrong by more than the image.
    """
    patterns = measurement.size**2
    prepared, common = _prepare(measurement)
    error = _ValidationError.from_measurement(prepared, common, measurement.to_beam_view(image))
    measured = np.zeros(patterns, dtype=bool)
    measured[measurement.pattern_index] = True
    draws = draws.where(measured[draws.pattern_index] | error.known[draws.pattern_index])
    if len(draws) < MIN_DRAWS:
        return None
    if mask_knowledge(prepared) == "reference":
        spread = _spread(measurement.to_beam_view(image), ~measured)
        fitted = _fit(error, draws.where(~measured[draws.pattern_index]), spread)
        beyond = fitted.times(float(spread[~measured].sum()))
    else:
        beyond = _sum_unmeasured(error, draws, ~measured)
        if beyond.sum > patterns * float(np.sum((image - image.mean()) ** 2)):
            return None
    peak = 1.0 if measurement.scale == "transmission" else float(np.ptp(image))
    return _to_estimate([beyond, _sum_measured(prepared)], peak * patterns, len(draws))


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
    """Squared error of the image for a spread of 1, its variance, and the variance of mask errors for u + v = n."""

    factor: float
    variance: float
    masks: float

    def times(self, spread: float) -> _Part:
        """What patterns of such a spread in all have."""
        return _Part(self.factor * spread, self.variance * spread**2)


def _fit(error: _ValidationError, draws: ValidationDraws, spread: Array) -> _Fit:
    """Fit b and a: least squares, weighted by the fit itself and by q^-1/2.

    The variance is the larger one of the scatter of the draws and of what squares of normal errors have.
    """
    from scipy.optimize import nnls

    if not len(draws):
        return _Fit(0.0, 0.0, 0.0)
    index, sampled = draws.pattern_index, draws.probability**-0.5
    noise, beyond = error.noise[index], error.square[index]
    laws = np.column_stack([spread[index], _mask_shares(round(len(spread) ** 0.5))[index]])
    unit = float(np.mean(beyond + noise))
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
    return _Fit(float(found[0]), _WIDER**2 * max(scatter, normal), float(found[1]))


def _sum_measured(prepared: PreparedMeasurement) -> _Part:
    """What the image keeps of the noise."""
    noise = float(np.sum(with_model_error(prepared, prepared.noise).sigma ** 2))
    return _Part(NOISE_KEPT * noise, (_NOISE_KEPT_ERROR * noise) ** 2)


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
    least = parts[-1].sum
    total = max(total, least)
    if not (total > 0 and peak > 0):
        return None
    spread = math.sqrt(sum(part.variance for part in parts)) / total
    psnr = 10 * math.log10(peak**2 / total)
    half = 10 * spread / math.log(10)
    smallest = max(total * (1 - spread), least, 0.01 * total)  # what is measured is wrong by so much at least
    return PsnrEstimate(psnr, psnr - _LOW_SIDE * half, psnr + 10 * math.log10(total / smallest), draws)
