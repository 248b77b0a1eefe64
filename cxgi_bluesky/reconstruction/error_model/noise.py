"""How large the errors of the coefficients really are, found by patterns that are held back.

A detector reports its own noise. Masks that are not quite the design, and files that bring no sigma
at all, have errors that nobody reported. How far the coefficients' power falls with sequency gives a
second estimate (`measurement.coefficients.estimate_sigma`), which takes the fine structure of the object for
noise where there is much of it. Which of the two is right can be found from the data: the image
is made with each of them from seven eighths of the patterns, and the one that predicts the rest
better is believed, if it is better by more than the luck of the draw.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ...masks.orders import sequency_grid
from ...masks.pattern_set import coefficients
from ...measurement.coefficients import estimate_sigma
from ...measurement.measurement import Measurement
from ..solvers.primal_dual import INITIAL_WEIGHT_IN_SIGMA, Problem, WarmStart
from .common_mode import MASK_LEVEL, CommonError, without_common_error

Array = NDArray[np.float64]

MIN_PATTERNS = 64
_MIN_RATIO = 1.25  # a ratio of two sigmas below it changes no image
_SHARES_OF_ESTIMATE = (1.0, 0.5, 0.25, 0.125)
# in standard errors: enough to believe the larger sigma, enough not to, and where another draw is asked
_CONVINCING, _SPEAKING_AGAINST, _UNCERTAIN = 0.8, -0.5, 2.0
_INITIAL_ITERATIONS, _INITIAL_TOLERANCE = 100, 1e-3


@dataclass(frozen=True, eq=False)
class NoiseEstimate:
    """How large the errors of the coefficients are.

    Attributes
    ----------
    sigma : float
        One standard deviation of a coefficient, noise and model error together (rms).
    model_sigma : float
        The share that is not in the measurement's own sigma, 0 if that explains all.
    origin : str
    initial_image : ndarray, shape (n, n), or None
        The image that was made with this sigma; None for a short scan.
    """

    sigma: float
    model_sigma: float
    origin: str
    initial_image: NDArray[np.float32] | None = None


def draw_rows(measurement: Measurement, seed: int) -> NDArray[np.int64]:
    """Rows of an eighth of the patterns (never k = 0), drawn over the whole measured range.

    Parameters
    ----------
    measurement : Measurement
        Of M patterns.
    seed : int
        Of the draw.

    Returns
    -------
    ndarray of int, shape (M // 8,)
        Places in the measurement's arrays.
    """
    candidates = np.flatnonzero(measurement.pattern_index != 0)
    return np.random.default_rng(seed).choice(candidates, len(measurement) // 8, replace=False)


def estimate_noise(measurement: Measurement, *, nonnegative: bool = True, seed: int = 0) -> NoiseEstimate:
    """Estimate the errors of the coefficients.

    Parameters
    ----------
    measurement : Measurement
        Its sigma is believed when it was given and the held-back patterns do not speak against it.
    nonnegative : bool, optional
        Of the initial images, which are made by the isotropic norm: the quickest one. True by default.
    seed : int, optional
        Of the draw; 0 by default.
    """
    own = float(np.sqrt(np.mean(measurement.sigma**2)))
    if len(measurement) < MIN_PATTERNS:
        return NoiseEstimate(own, 0.0, measurement.sigma_origin)
    candidates = _candidates(measurement, own)
    images, misses = _try_sigmas(measurement, candidates, nonnegative, seed)
    if len(candidates) > 1 and abs(_evidence(misses[candidates[0]], misses[candidates[1]])) < _UNCERTAIN:
        _, more = _try_sigmas(measurement, candidates, nonnegative, seed + 1)
        misses = {sigma: np.concatenate([misses[sigma], more[sigma]]) for sigma in candidates}
    best = _choose(candidates, misses)
    image = images[best]
    if measurement.sigma_is_guessed:
        return NoiseEstimate(best, 0.0, "estimated: held-back patterns", image)
    if best == own:
        if len(candidates) == 1 or _evidence(misses[own], misses[candidates[1]]) < _SPEAKING_AGAINST:
            return NoiseEstimate(own, 0.0, measurement.sigma_origin, image)
        best = (
            candidates[1] if len(candidates) > 2 else math.sqrt(own * candidates[1])
        )  # the draw says nothing: half-way
    model = math.sqrt(max(0.0, best**2 - own**2))
    return NoiseEstimate(best, model, f"{measurement.sigma_origin}, and model error", image)


class PreparedMeasurement(Measurement):
    """A measurement that estimates its errors once, when they are first asked for.

    `replace`, and each selection of patterns, makes another one, with estimates of its own.
    """

    @classmethod
    def from_measurement(cls, measurement: Measurement) -> PreparedMeasurement:
        """Prepare a measurement; one that is prepared already keeps its estimates."""
        if isinstance(measurement, cls):
            return measurement
        return cls(**{each.name: getattr(measurement, each.name) for each in fields(measurement)})

    @cached_property
    def noise(self) -> NoiseEstimate:
        """The errors of its coefficients (`estimate_noise`)."""
        return estimate_noise(self)

    @cached_property
    def _without_common_error(self) -> dict[float, tuple[PreparedMeasurement, CommonError]]:
        return {}

    def without_common_error(self, level: float = MASK_LEVEL) -> tuple[PreparedMeasurement, CommonError]:
        """Take the common error off, as the function of that name does; once for each `level`."""
        if level not in self._without_common_error:
            measurement, error = without_common_error(self, level)
            self._without_common_error[level] = self.from_measurement(measurement), error
        return self._without_common_error[level]


def with_model_error(measurement: Measurement, noise: NoiseEstimate) -> Measurement:
    """The measurement with the sigma that the data support: model error added in quadrature.

    Parameters
    ----------
    measurement : Measurement
    noise : NoiseEstimate
        Of its coefficients.
    """
    if measurement.sigma_is_guessed:
        sigma = np.full_like(measurement.sigma, noise.sigma)
    else:
        shares = error_shares(measurement.size, mask_knowledge(measurement)).ravel()[measurement.pattern_index]
        sigma = np.sqrt(measurement.sigma**2 + noise.model_sigma**2 * shares / shares.mean())
    return replace(measurement, sigma=sigma, sigma_origin=noise.origin)


MaskKnowledge = Literal["none", "reference", "exact"]
_FLOOR = {"none": 0.02, "reference": 0.15}


def mask_knowledge(measurement: Measurement) -> MaskKnowledge:
    """What is known of the masks of a measurement: "exact" where their errors play no part or were taken off."""
    source = measurement.source
    if source.get("coding") != "binary" or "tile_maps_sha256" in source:
        return "exact"
    return "none" if measurement.pattern_error is None else "reference"


def error_shares(size: int, knowledge: MaskKnowledge) -> Array:
    """How the variance of the model error is spread over the patterns, shape (n, n), up to a factor.

    Etching moves edges, so its errors grow with the edges of a pattern, u + v. Drawn boards (corners, walls,
    over-etching, thickness; 64 and 32 pixels) show rms errors that rise six-fold from the coarsest to the finest
    tenth of 1536 patterns without a reference scan, and two- to five-fold after one.

    Parameters
    ----------
    size : int
        Pixels per side n.
    knowledge : {"none", "reference", "exact"}
        What is known of the masks (`mask_knowledge`); "exact": the same for all patterns.
    """
    if knowledge == "exact":
        return np.ones((size, size))
    u, v = sequency_grid(size)
    return (((u + v) / size) ** 2 + _FLOOR[knowledge]).reshape(size, size)


def _candidates(measurement: Measurement, own: float) -> list[float]:
    """Sigmas to try, the one believed without evidence first."""
    if measurement.sigma_is_guessed:
        return [own * share for share in _SHARES_OF_ESTIMATE]
    largest = float(estimate_sigma(measurement.pattern_index, measurement.coefficient, measurement.size)[0][0])
    bound = max_mask_error(measurement)
    if bound is not None:
        largest = min(largest, math.hypot(own, bound))
    if largest <= _MIN_RATIO * own:
        return [own]
    if own == 0:  # nothing between it and the largest could be named
        return [own, largest]
    # a reference scan has taken much of the error away: what is left may be anything in between
    return [own, largest] if bound is None else [own, math.sqrt(own * largest), largest]


def max_mask_error(measurement: Measurement) -> float | None:
    """How large a coefficient's error can be by what a reference scan saw of the masks; None without one.

    The reference gives the mean error e of a +-1 pattern over the field. If errors were scattered over the mask
    pixel by pixel, that mean would be what is left of them after averaging, and a coefficient would be wrong by
    e sqrt(sum_k>0 s_k^2). Errors of etching go one way over most of a tile: the mean shows them in full, the
    correction takes that off, and less remains.
    """
    if measurement.pattern_error is None:
        return None
    others = measurement.coefficient[measurement.pattern_index != 0]
    return measurement.pattern_error * float(np.sqrt(np.sum(others**2)))


def _try_sigmas(
    measurement: Measurement, candidates: list[float], nonnegative: bool, seed: int
) -> tuple[dict[float, NDArray[np.float32]], dict[float, Array]]:
    """Make the image from seven eighths of the patterns for each sigma; how far it misses each of the others."""
    held = draw_rows(measurement, seed)
    kept = measurement.take(np.delete(np.arange(len(measurement)), held))
    problem, warm = Problem.from_measurement(kept, norm="isotropic", nonnegative=nonnegative), WarmStart()
    images, misses = {}, {}
    for sigma in sorted(candidates, reverse=True):  # from the smoothest image on: the next starts there
        weight = INITIAL_WEIGHT_IN_SIGMA * sigma / measurement.size
        problem.solve(weight, warm, iterations=_INITIAL_ITERATIONS, tolerance=_INITIAL_TOLERANCE)
        assert warm.image is not None
        images[sigma] = warm.image.copy()
        misses[sigma] = np.abs(
            coefficients(warm.image, measurement.pattern_index[held]) - measurement.coefficient[held]
        )
    return images, misses


def _evidence(first: Array, second: Array) -> float:
    """By how many standard errors the second misses less; distances, as squares would be ruled by a few patterns."""
    gain = first - second
    error = float(gain.std()) / np.sqrt(len(gain))
    return float(gain.mean()) / error if error > 0 else 0.0


def _choose(candidates: list[float], misses: dict[float, Array]) -> float:
    """The first candidate, unless another predicts better by more than the luck of the draw."""
    best = candidates[0]
    for sigma in candidates[1:]:
        if _evidence(misses[best], misses[sigma]) > _CONVINCING:
            best = sigma
    return best
