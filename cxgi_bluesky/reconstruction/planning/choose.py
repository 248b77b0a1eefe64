"""Rules that choose the next patterns of a scan by the image made so far.

A rule ranks patterns; `choose_batch` takes from its ranking what the image lacks. Rules do not know which patterns are
validation patterns: one that a rule wants enters the image by the exposure that it has (`Batch.wanted`), the others
stay a fair sample of what the image lacks (`quality.estimate_psnr`).

Adaptive Hadamard imaging by predicted coefficients: F. Rousset et al., IEEE Trans. Comput. Imaging 3, 36 (2017).

A rule of your own is one function and one entry:

    def largest(knowledge):
        return np.argsort(-knowledge.magnitude, kind="stable")

    RULES["mine"] = largest
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from ...errors import check_choice
from ...masks.orders import power_share, ranking, sequency
from ...masks.transform import walsh_hadamard_2d

Array = NDArray[np.float64]
Index = NDArray[np.int64]

START_SHARE = 96 / 64**2  # of all N patterns
START_ORDER = "zig-zag"
BATCH_SHARE = 64 / 64**2
MIN_START = 16
DEFAULT_RULE = "foreseen"
_EVERY = 4  # one pattern in four comes from the second ranking of a rule
# "foreseen": exponents, chosen on random objects of other seeds than the benchmark's (64 x 64, 30 dB).
_OF_PATTERN, _OF_NEIGHBOURS, _OF_OBJECTS, _OF_NOISE = 0.35, 0.35, 0.15, 0.5
_NEIGHBOURS = 2.0  # sign changes
_LEAST_POWER, _LEAST_NEAR = 1e-2, 1e-3  # of the mean power that an image has in unmeasured patterns


@dataclass(frozen=True, eq=False)
class Knowledge:
    """What a rule may use.

    Attributes
    ----------
    size : int
        Pixels per side n; N = n * n patterns.
    magnitude : ndarray, shape (N,)
        abs(sum over pixels of H_k * image) of the image made so far, in its unit.
    sigma : ndarray, shape (N,)
        One standard deviation of a coefficient if it were measured, same unit.
    measured : ndarray of bool, shape (N,)
        What need not be ranked: patterns of the image, and those that the board does not have.
    rng : numpy.random.Generator
        For what a rule leaves to chance.
    """

    size: int
    magnitude: Array
    sigma: Array
    measured: NDArray[np.bool_]
    rng: Generator


Rule = Callable[[Knowledge], Index]


@dataclass(frozen=True)
class Batch:
    """The next patterns.

    Attributes
    ----------
    patterns : list of int
        To expose now, best first.
    wanted : list of int
        Validation patterns that the rule picked beside them: from now on the image is made from them too.
    """

    patterns: list[int]
    wanted: list[int]


def start_patterns(size: int) -> Index:
    """The patterns that a scan begins with, before there is an image to choose by.

    Parameters
    ----------
    size : int
        Pixels per side n: 96 patterns of 64 x 64, as large a share of other sizes, at least 16.
    """
    return ranking(START_ORDER, size)[: min(size * size, max(MIN_START, round(START_SHARE * size * size)))]


def batch_size(size: int) -> int:
    """How many patterns are chosen at once: 64 for 64 x 64, as large a share of other sizes, at least 4."""
    return max(4, round(BATCH_SHARE * size * size))


# ---------------------------------------------------------------- rules


def _by_foreseen_power(knowledge: Knowledge) -> Index:
    """Three drawn by the power to be expected, less where noise hides it, then the largest of the image, and so on.

    Expected by the image's coefficient, those of neighbouring sequencies, and other objects. Drawn, as the errors of an
    image lie where its coefficients are too small, too; what is largest it often knows well.
    """
    candidates = np.flatnonzero(~knowledge.measured)
    power = knowledge.magnitude**2
    power[0] = 0.0
    mean = float(power[candidates].mean() if len(candidates) else 0.0) or 1.0  # 0: an image without contrast
    own, near = power / mean + _LEAST_POWER, smooth_over_sequencies(power, _NEIGHBOURS) / mean + _LEAST_NEAR
    objects = np.maximum(power_share(knowledge.size), np.finfo(float).tiny)
    seen = np.sqrt(own * near)
    seen /= seen + knowledge.sigma**2 / mean
    log_weight = (
        _OF_PATTERN * np.log(own) + _OF_NEIGHBOURS * np.log(near) + _OF_OBJECTS * np.log(objects)
    ) + _OF_NOISE * np.log(seen)
    drawn = _draw(candidates, log_weight, knowledge.rng)
    return _interleave(drawn, _largest(candidates, knowledge), knowledge.size**2)


def _by_magnitude(knowledge: Knowledge) -> Index:
    """Three by magnitude, then one drawn as the order learned-density draws, and so on."""
    candidates = np.flatnonzero(~knowledge.measured)
    share = np.log(np.maximum(power_share(knowledge.size), np.finfo(float).tiny))
    drawn = _draw(candidates, share, knowledge.rng)
    return _interleave(_largest(candidates, knowledge), drawn, knowledge.size**2)


def _largest(candidates: Index, knowledge: Knowledge) -> Index:
    return candidates[np.argsort(-knowledge.magnitude[candidates], kind="stable")]


def _draw(candidates: Index, log_weight: Array, rng: Generator) -> Index:
    """Draw all without replacement, those of large weight sooner (Gumbel's way)."""
    luck = log_weight[candidates] + rng.gumbel(size=len(candidates))
    return candidates[np.argsort(-luck, kind="stable")]


def _interleave(first: Index, second: Index, patterns: int) -> Index:
    """One of the second after every three of the first, each pattern where it comes first."""
    rank = np.empty((2, patterns))
    steps = np.arange(len(first))
    rank[0, first] = steps + steps // (_EVERY - 1)
    rank[1, second] = _EVERY * steps + _EVERY - 1
    return first[np.argsort(rank[:, first].min(axis=0), kind="stable")]


def smooth_over_sequencies(power: Array, width: float) -> Array:
    """Smooth squared coefficients over neighbouring sequencies, shape (N,).

    Parameters
    ----------
    power : ndarray, shape (N,)
        By pattern_index.
    width : float
        Standard deviation of the Gaussian (sign changes).
    """
    from scipy.ndimage import gaussian_filter

    size = math.isqrt(len(power))
    by_sequency = np.argsort(sequency(size))
    grid = np.ix_(by_sequency, by_sequency)
    smooth = np.empty((size, size))
    smooth[grid] = gaussian_filter(power.reshape(size, size)[grid], width)
    return smooth.ravel()


RULES: dict[str, Rule] = {"foreseen": _by_foreseen_power, "magnitude": _by_magnitude}


# ---------------------------------------------------------------- a batch


def choose_batch(
    image: ArrayLike,
    *,
    measured: Collection[int],
    validation: Collection[int] = (),
    count: int,
    rng: Generator,
    rule: str = DEFAULT_RULE,
    sigma: float = 0.0,
    available: Collection[int] | None = None,
) -> Batch:
    """Choose the next patterns by the image made so far.

    Parameters
    ----------
    image : array_like, shape (n, n)
        As the board sees it (`Measurement.to_beam_view`), in any unit.
    measured : collection of int
        Patterns that the image was made from.
    validation : collection of int, optional
        Patterns that are measured for validation and need no second exposure.
    count : int
        New patterns, fewer where no more are left.
    rng : numpy.random.Generator
        For what the rule leaves to chance.
    rule : str, optional
        One of `RULES`.
    sigma : float, optional
        One standard deviation of a coefficient, in the unit of the image times pixels; 0 by default.
    available : collection of int, optional
        Patterns that the board has; all by default.

    Returns
    -------
    Batch

    Raises
    ------
    CxgiError
        For an unknown rule.
    """
    find_rule(rule)
    ranked = rank_patterns(image, measured=measured, rng=rng, rule=rule, sigma=sigma, available=available)
    return take_batch(ranked, measured=measured, validation=validation, count=count)


def find_rule(rule: str) -> Rule:
    """The rule of a name.

    Raises
    ------
    CxgiError
        If there is none.
    """
    check_choice("rule", rule, RULES, more=", or add it to RULES")
    return RULES[rule]


def rank_patterns(
    image: ArrayLike,
    *,
    measured: Collection[int],
    rng: Generator,
    rule: str = DEFAULT_RULE,
    sigma: float = 0.0,
    available: Collection[int] | None = None,
) -> Index:
    """Rank all patterns that are not measured, validation patterns among them, best first; as `choose_batch`.

    Parameters
    ----------
    image : array_like, shape (n, n)
    measured : collection of int
    rng : numpy.random.Generator
    rule : str, optional
    sigma : float, optional
    available : collection of int, optional
    """
    magnitude = np.abs(walsh_hadamard_2d(np.asarray(image, dtype=np.float64))).ravel()
    excluded = np.zeros(len(magnitude), dtype=bool)
    if available is not None:
        excluded[:] = True
        excluded[list(available)] = False
    excluded[list(measured)] = True
    size = round(len(magnitude) ** 0.5)
    knowledge = Knowledge(size, magnitude, np.full(len(magnitude), float(sigma)), excluded, rng)
    ranked = np.asarray(find_rule(rule)(knowledge), dtype=np.int64)
    return ranked[~excluded[ranked]]


def take_batch(ranked: Index, *, measured: Collection[int], validation: Collection[int], count: int) -> Batch:
    """Take the next patterns of a ranking, which may be older than the last exposures.

    Parameters
    ----------
    ranked : ndarray of int64
        Best first (`rank_patterns`).
    measured, validation : collection of int
        Patterns that are measured meanwhile for the image, and for validation.
    count : int
        New patterns.
    """
    ranked = ranked[~np.isin(ranked, list(measured))]
    apart = np.isin(ranked, list(validation))
    new = ranked[~apart][:count]
    reach = len(ranked) if len(new) < count else int(np.flatnonzero(ranked == new[-1])[0]) if count else 0
    return Batch(new.tolist(), ranked[:reach][apart[:reach]].tolist())
