"""The PSNR of an image without a truth, from validation patterns that were drawn with known probabilities.

By Parseval N^2 MSE = sum over all N patterns of (s_k - shat_k)^2, with s_k the object's coefficient and shat_k the
image's. Its two parts, the patterns that the image was not made from and those that it was, are looked for as
distributions of their logarithm:

- *What images of random objects lack*: a law in what the image itself shows (`describe_image`), fitted to images of
  random objects (`python -m tools.psnr_laws`), of a family that it was not fitted to right within a factor of
  2.8 beyond the measured patterns, and of 1.6 at them (one standard deviation).
- *What the validation patterns say* of the first part: (y_k - shat_k) is normal with the variance
  b m_k + (1 + a) sigma_k^2. m_k is how the errors of images of random objects are spread over the patterns, b is looked
  for, and a is noise that sigma does not know of: a source drifts between two exposures of the open tile, and all
  patterns in between have that in common, so that their mean is taken off as well. Draws are weighted by m_k / q_k:
  where there is little noise, the most probable sum is then sum (y_k - shat_k)^2 / q_k over sum m_k / q_k, times that
  of all m_k (ratio estimator; M. H. Hansen, W. N. Hurwitz, Ann. Math. Stat. 14, 333 (1943)), which is right whatever
  m_k is. That a rule has chosen the image's patterns changes nothing, as it does not know what was drawn.

Where noise is larger than what is to be found, 64 draws cannot say more than an upper limit; the interval is that of
random objects then. Behind etched masks that a reference scan has corrected, what is left of their errors is larger
than those of the image for most of all patterns: a stands for an error that grows with the sequency.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...masks.orders import power_share, sequency_grid
from ...masks.pattern_set import coefficients
from ...measurement.measurement import Measurement
from ...measurement.validation import ValidationDraws
from ..error_model.noise import PreparedMeasurement, error_shares, mask_knowledge, with_model_error
from ..registry import CH_MWCNN, TV, find_method
from ..result import Reconstruction
from .choose import smooth_over_sequencies

Array = NDArray[np.float64]

MIN_DRAWS = 16
# Quantiles of the PSNR. Claims that are too good shall be fewer than those too low: the laws err most for images of a
# middling PSNR, which texture can have too, so that the lower end lies further out there.
_LOW_END, _LOW_END_AT_DB, _HIGH_END = (0.05, 0.15), (24.0, 32.0), 0.72
_SPREAD_OF_PRIOR, _SPREAD_OF_POWER = 0.13, 0.275  # exponents of m_k, fitted to images of random objects
_SPREAD_WIDTH = 2.0  # sign changes
_SPREAD_FLOOR = 1e-3  # of the mean power that an image has in unmeasured patterns
_DRAW_WEIGHT = 0.5  # of a draw, as squared errors scatter more than those of normal ones
_HIGH_END_BEHIND_MASKS = 0.78
_DRAW_WEIGHT_BEHIND_MASKS = 0.1  # one cannot tell well which of the two laws it follows
_EXCESS, _MAX_EXCESS = 0.1, 1.5  # a: mean and largest
_MASK_FLOOR = 0.02  # variance of the coarsest masks' errors, that of u + v = n is 1
# Shares of the power in the measured patterns that no scan had less of, of those that the laws were fitted to.
_MIN_NOISE, _MIN_SEEN = 5e-4, 1e-4
_NOTHING = 1e-9
_MIN_MISS = 0.15  # of the noise: no image missed its data by less
_TAIL = 4.0  # degrees of freedom: an object of another kind is believed sooner than with normal errors
_REACH, _POINTS = 4.0, 97  # of the distribution: standard deviations, points


@dataclass(frozen=True)
class Law:
    """log10 of a part of N^2 MSE, linear in the log10 of what is seen (`describe_image`).

    Attributes
    ----------
    constant : float
    weights : tuple of float
        Of all quantities but the first, which has the rest to 1: the law knows no unit.
    sigma : float
        One standard deviation, over random objects.
    """

    constant: float
    weights: tuple[float, ...]
    sigma: float

    def __call__(self, seen: Array) -> float:
        """The median."""
        return self.constant + float(seen[0] + np.asarray(self.weights) @ relative(seen))


def relative(seen: Array) -> Array:
    """What is seen over the first of it, shape (..., 8); the size as it is."""
    found: Array = np.concatenate([seen[..., 1:-1] - seen[..., :1], seen[..., -1:]], axis=-1)
    return found


# Of the patterns that an image was not made from, and of those that it was (python -m tools.psnr_laws).
LAWS = {
    CH_MWCNN.name: (
        Law(0.986, (0.37, -0.159, -0.697, -0.342, 0.877, -0.903, 1.241, -0.371), 0.45),
        Law(0.029, (-0.071, 0.385, -0.344, -0.125, 0.733, -0.373, 0.806, -0.195), 0.2),
    ),
    TV.name: (
        Law(0.627, (0.355, -0.618, 0.458, -0.512, 0.828, -0.419, 0.345, -0.202), 0.49),
        Law(-0.072, (-0.164, 0.337, 0.138, -0.143, 0.645, -0.189, 0.403, -0.083), 0.18),
    ),
}
OTHER_METHODS = TV.name
TOGETHER = 0.56  # correlation of what both err by
# Sigma is then mostly what is left of the masks' errors, and the same sigma of noise alone costs an image more.
_BEHIND_MASKS, _SIGMA_BEHIND_MASKS = -0.4, 1.1


@dataclass(frozen=True)
class PsnrEstimate:
    """An estimate of the PSNR of an image.

    Attributes
    ----------
    psnr_db : float
        The peak is a transmission of 1, or the image's own range where its scale is "relative".
    low_db, high_db : float
        68 % interval (benchmarks/psnr_estimate.py), with more of the rest above it than below.
    draws : int
        How many draws were counted.
    """

    psnr_db: float
    low_db: float
    high_db: float
    draws: int


def estimate_psnr(
    measurement: Measurement, image: NDArray[Any], *, draws: ValidationDraws, method: str = CH_MWCNN.name
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
    method : str, optional
        By which the image was made; the network by default.

    Returns
    -------
    PsnrEstimate or None
        None for fewer than 16 draws, or none of a pattern that the image lacks; for an image that holds nothing beyond
        its patterns, as linear methods make it, since the laws are of others; and where an image without contrast would
        be as good by this: etched masks of which nothing is known are wrong by more than the image.
    """
    prepared = _prepare(measurement)
    power = coefficients(measurement.to_beam_view(image), np.arange(prepared.size**2)) ** 2
    unmeasured = np.ones(len(power), dtype=bool)
    unmeasured[prepared.pattern_index] = False
    known = np.zeros(len(power), dtype=bool)
    if prepared.validation is not None:
        known[prepared.validation.index] = True
    draws = draws.where(~unmeasured[draws.pattern_index] | known[draws.pattern_index])
    outside = draws.where(unmeasured[draws.pattern_index])
    measured = float(power[1:][~unmeasured[1:]].sum())
    if len(draws) < MIN_DRAWS or not len(outside) or power[unmeasured].sum() <= _NOTHING * measured:
        return None
    seen = describe_image(prepared, image, power, unmeasured)
    law, within_law = LAWS.get(method, LAWS[OTHER_METHODS])
    behind_masks = mask_knowledge(prepared) == "reference"
    if behind_masks:
        law = replace(law, constant=law.constant + _BEHIND_MASKS, sigma=law.sigma * _SIGMA_BEHIND_MASKS)
    expected = law(seen)
    misses = _Misses.of(prepared, measurement.to_beam_view(image), outside)
    reach = sorted((expected, math.log10(misses.mean_square * unmeasured.sum())))
    beyond = np.linspace(reach[0] - _REACH * law.sigma, reach[1] + _REACH * law.sigma, _POINTS)
    off = (beyond - expected) / law.sigma
    likely = _log_likelihood(10**beyond, prepared, misses, _spread(power, unmeasured))
    likely -= (_TAIL + 1) / 2 * np.log1p(off**2 / _TAIL)
    share = np.exp(likely - likely.max())
    if _quantiles(beyond, share, 0.5)[0] > math.log10(power[1:].sum()):
        return None
    within = np.linspace(-2.5, 2.5, 11)  # in standard deviations, where the first part is known
    follows = TOGETHER * np.clip(off, -_REACH, _REACH)
    exponent = within_law(seen) + within_law.sigma * (follows[:, None] + math.sqrt(1 - TOGETHER**2) * within)
    total = np.log10(10 ** beyond[:, None] + 10**exponent)
    peak = 1.0 if measurement.scale == "transmission" else float(np.ptp(image))
    high_end = _HIGH_END_BEHIND_MASKS if behind_masks else _HIGH_END
    weight = share[:, None] * np.exp(-(within**2) / 2)

    def psnr_at(quantile: float) -> float:
        return 20 * math.log10(peak * len(power)) - 10 * float(_quantiles(total, weight, 1 - quantile)[0])

    psnr = psnr_at(0.5)
    low_end = _LOW_END[0] if behind_masks else float(np.interp(psnr, _LOW_END_AT_DB, _LOW_END))
    return PsnrEstimate(psnr, psnr_at(low_end), psnr_at(high_end), len(draws))


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
    found = estimate_psnr(measurement, result.image, draws=measurement.draws, method=result.method)
    if found is None:
        return result
    claim = {"psnr_db": found.psnr_db, "psnr_low_db": found.low_db, "psnr_high_db": found.high_db}
    return replace(result, quality={**result.quality, **claim})


def is_claimed_during(block: Mapping[str, Any]) -> bool:
    """Return whether images have an estimated PSNR while their scan goes on: it is drawn of what is still to come, too.

    Parameters
    ----------
    block : mapping
        ``cxgi`` of the scan's start document.
    """
    drawn, patterns = block.get("validation"), block["pattern_set"]
    return bool(drawn and _draws_from_all(block) and drawn["start_count"] < patterns["count"])


def announce_psnr(block: Mapping[str, Any]) -> str:
    """Say from when on images of a scan have an estimated PSNR; empty for a scan that claims none.

    Parameters
    ----------
    block : mapping
        ``cxgi`` of its start document.
    """
    drawn = block.get("validation")
    if not drawn:
        return ""
    if not _draws_from_all(block):
        return "No PSNR in this scan: the board lacks patterns, and what they hold cannot be known"
    if not is_claimed_during(block):
        return f"PSNR: at the end, when all {block['pattern_set']['count']} patterns are measured"
    return f"PSNR: after the first {drawn['start_count']} patterns and {MIN_DRAWS} validation patterns"


def _draws_from_all(block: Mapping[str, Any]) -> bool:
    """Whether every pattern of the size is measured at first, or may have been drawn."""
    drawn = block["validation"]
    return bool(drawn["start_count"] + drawn["candidates"] >= block["pattern_set"]["size"] ** 2)


def _prepare(measurement: Measurement) -> PreparedMeasurement:
    prepared = PreparedMeasurement.from_measurement(measurement)
    return prepared.without_common_error()[0] if measurement.masks is None else prepared


# ---------------------------------------------------------------- what random objects say


def describe_image(
    prepared: PreparedMeasurement, image: NDArray[Any], power: Array, unmeasured: NDArray[np.bool_]
) -> Array:
    """log10 of what the error of an image follows, in the unit of N^2 MSE but for the last, shape (9,).

    Its power in the unmeasured patterns; what these have in random objects, for that of the finer half of the measured
    ones; noise that the best linear filter of each coefficient leaves; noise in all N; its power in the measured
    patterns; square of the mean, and mean of the square, of the steps from pixel to pixel; how far it misses its
    data; pixels per side.

    Parameters
    ----------
    prepared : PreparedMeasurement
        That it was made from, without the common error.
    image : ndarray, shape (n, n)
    power : ndarray, shape (N,)
        Squares of its coefficients, as the board sees it.
    unmeasured : ndarray of bool, shape (N,)
    """
    index = prepared.pattern_index[prepared.pattern_index != 0]
    measured = float(power[index].sum())
    share = power_share(prepared.size)
    finer = index[share[index] <= np.median(share[index])]
    expected = share[unmeasured].sum() * power[finer].sum() / share[finer].sum()
    variance = np.maximum(
        with_model_error(prepared, prepared.noise).sigma ** 2, _MIN_NOISE * measured / max(len(index), 1)
    )
    own = power[prepared.pattern_index]
    miss = prepared.coefficient - coefficients(prepared.to_beam_view(image), prepared.pattern_index)
    kept = np.sum(variance * own / np.maximum(own + variance, np.finfo(float).tiny))
    steps = np.concatenate([np.diff(image, axis=0).ravel(), np.diff(image, axis=1).ravel()]).astype(np.float64)
    seen = np.array(
        [
            power[unmeasured].sum(),
            expected,
            kept,
            variance.mean() * len(power),
            measured,
            np.abs(steps).sum() ** 2,
            len(power) * (steps @ steps),
            len(power) * max(float(np.mean(miss**2)), _MIN_MISS * float(variance.mean())),
        ]
    )
    return np.append(np.log10(np.maximum(seen, _MIN_SEEN * measured)), math.log10(prepared.size))


# ---------------------------------------------------------------- what the draws say


def _spread(power: Array, unmeasured: NDArray[np.bool_]) -> Array:
    """How the squared error of an image is spread over the unmeasured patterns, shape (N,); their sum is 1."""
    power = np.concatenate([[0.0], power[1:]])
    mean = float(power[unmeasured].mean())
    smooth = smooth_over_sequencies(power, _SPREAD_WIDTH) / mean if mean > 0 else np.zeros_like(power)
    prior = np.maximum(power_share(math.isqrt(len(power))), 1e-9)
    spread: Array = prior**_SPREAD_OF_PRIOR * (smooth + _SPREAD_FLOOR) ** _SPREAD_OF_POWER
    return spread / spread[unmeasured].sum()


@dataclass(frozen=True, eq=False)
class _Misses:
    """How far an image misses the validation patterns, each once.

    Attributes
    ----------
    index : ndarray of int64
    weight : ndarray
        How often it was drawn, over the probability.
    draws : int
        How often all were drawn.
    miss : ndarray
        Measured less predicted coefficient.
    noise : ndarray
        Variance that is known of it.
    """

    index: NDArray[np.int64]
    weight: Array
    draws: int
    miss: Array
    noise: Array

    @classmethod
    def of(cls, prepared: PreparedMeasurement, image: NDArray[Any], draws: ValidationDraws) -> _Misses:
        """Of the drawn patterns that the image was not made from."""
        validation = prepared.validation
        assert validation is not None
        index, first, times = np.unique(draws.pattern_index, return_index=True, return_counts=True)
        row = np.argsort(validation.index)[np.searchsorted(np.sort(validation.index), index)]
        miss = (validation.value - coefficients(image, validation.index))[row]
        noise = _validation_variance(prepared, index, None if validation.sigma is None else validation.sigma[row])
        return cls(index, times / draws.probability[first], len(draws), miss, noise)

    @property
    def mean_square(self) -> float:
        """Of all, noise and what the image lacks together; never 0."""
        return max(float(np.mean(self.miss**2)), np.finfo(float).tiny ** 0.5)


def _log_likelihood(beyond: Array, prepared: PreparedMeasurement, misses: _Misses, spread: Array) -> Array:
    """Log likelihood of some sums of squared errors over the unmeasured patterns, shape (len(beyond),)."""
    miss, spread = misses.miss, spread[misses.index]
    excess, likely = _excess_noise(prepared, misses)
    variance = beyond[:, None, None] * spread + misses.noise + excess
    if prepared.source.get("coding") == "binary":  # all have the source's drift in common, and the open bucket
        common = (miss / variance).sum(axis=-1) / (1 / variance).sum(axis=-1)
        miss = miss - common[..., None]
    weight = misses.weight * spread
    behind_masks = mask_knowledge(prepared) == "reference"
    weight *= (_DRAW_WEIGHT_BEHIND_MASKS if behind_masks else _DRAW_WEIGHT) * misses.draws / weight.sum()
    likely = likely - 0.5 * (np.log(variance) + miss**2 / variance) @ weight
    largest = likely.max()
    found: Array = largest + np.log(np.exp(likely - largest).sum(axis=1) + np.finfo(float).tiny)
    return found


def _excess_noise(prepared: PreparedMeasurement, misses: _Misses) -> tuple[Array, Array]:
    """Variances that sigma does not know of, shape (some, patterns), and the log probability of each."""
    if mask_knowledge(prepared) != "reference":
        excess = np.linspace(0, _MAX_EXCESS, 16)
        return excess[:, None] * misses.noise, -excess / _EXCESS
    u, v = sequency_grid(prepared.size)
    shape = ((u + v)[misses.index] / prepared.size) ** 2 + _MASK_FLOOR
    excess = float(np.mean(misses.miss**2 / shape)) * np.concatenate([[0.0], np.logspace(-3, 0.5, 29)])
    return excess[:, None] * shape, np.zeros(len(excess))


def _validation_variance(prepared: PreparedMeasurement, index: NDArray[np.int64], sigma: Array | None) -> Array:
    """Of validation patterns: noise and model error; behind corrected masks noise alone, the rest is looked for."""
    noise = prepared.noise
    own = np.full(len(index), noise.sigma) if sigma is None or prepared.sigma_is_guessed else sigma
    if mask_knowledge(prepared) == "reference":
        return own**2
    shares = error_shares(prepared.size, mask_knowledge(prepared)).ravel()
    variance: Array = own**2 + noise.model_sigma**2 * shares[index] / shares[prepared.pattern_index].mean()
    return variance


def _quantiles(values: Array, weights: Array, *at: float) -> Array:
    """Quantiles of a distribution that is given by points and their weights."""
    values, weights = values.ravel(), weights.ravel()
    order = np.argsort(values)
    reached = np.cumsum(weights[order]) - weights[order] / 2
    return np.interp(np.array(at) * weights.sum(), reached, values[order])
