"""Validation patterns: drawn at random before a scan, with known probabilities, and never part of its image.

What an image predicts for them says how wrong it is where nothing was measured (`reconstruction.planning.quality`).
That needs the probability with which each of them was drawn: it is stored in the start document of the run.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import ConfigError, MeasurementError
from ..masks.orders import power_share

UNIFORM_SHARE = 0.3  # of the probability; the rest follows the power that a pattern has in random objects


@dataclass(frozen=True, eq=False)
class ValidationDraws:
    """Patterns in the order in which they were drawn, with replacement.

    Attributes
    ----------
    pattern_index : ndarray of int64, shape (draws,)
        One that was drawn twice stands there twice; it is measured once.
    probability : ndarray, shape (draws,)
        Of drawing that pattern, in each draw.
    start_count, candidates : int
        Patterns, the first ones of the pattern set, that were not drawn from; patterns that were.
    """

    pattern_index: NDArray[np.int64]
    probability: NDArray[np.float64]
    start_count: int = 0
    candidates: int = 0

    def __len__(self) -> int:
        return len(self.pattern_index)

    @property
    def patterns(self) -> list[int]:
        """Each pattern once, in the order of the first draw."""
        return list(dict.fromkeys(self.pattern_index.tolist()))

    def where(self, chosen: NDArray[np.bool_]) -> ValidationDraws:
        """Take some of the draws."""
        return replace(self, pattern_index=self.pattern_index[chosen], probability=self.probability[chosen])

    def to_dict(self) -> dict[str, Any]:
        """As it is stored in the start document of a run."""
        return {
            "pattern_index": self.pattern_index.tolist(),
            "probability": self.probability.tolist(),
            "start_count": self.start_count,
            "candidates": self.candidates,
        }

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ValidationDraws:
        """Rebuild the draws from `to_dict`.

        Raises
        ------
        CxgiError
            If they are malformed.
        """
        try:
            index = np.asarray(data["pattern_index"], dtype=np.int64)
            probability = np.asarray(data["probability"], dtype=np.float64)
            start_count, candidates = int(data["start_count"]), int(data["candidates"])
        except (KeyError, TypeError, ValueError) as error:
            raise MeasurementError(f"validation draws are malformed: {error}") from error
        if index.ndim != 1 or index.shape != probability.shape or not (probability > 0).all():
            raise MeasurementError("validation draws are malformed: one probability above 0 is needed for each pattern")
        return cls(index, probability, start_count, candidates)


def draw_validation(
    size: int, candidates: ArrayLike, count: int, seed: int, *, start_count: int = 0
) -> ValidationDraws:
    """Draw validation patterns with replacement, the important ones more often.

    The probability of a pattern is 0.7 of its share in the power of random objects, among the candidates, and 0.3 of
    the same for all: of the first alone, an object of another kind would be measured where it has nothing.

    Parameters
    ----------
    size : int
        Pixels per side n.
    candidates : array_like of int
        Patterns to draw from: all that the board has but those that the scan begins with.
    count : int
        Number of draws; fewer patterns are measured, as some are drawn twice.
    seed : int
        Of the draw.
    start_count : int, optional
        Patterns of the set, the first ones, that are not among the candidates (default 0).

    Raises
    ------
    CxgiError
        If there is nothing to draw from.
    """
    index = np.unique(np.asarray(candidates, dtype=np.int64))
    if count and not len(index):
        raise ConfigError(f"validation {count}: the board has no pattern outside those that are measured, give 0")
    power = power_share(size)[index]
    probability = (1 - UNIFORM_SHARE) * power / power.sum() + UNIFORM_SHARE / max(len(index), 1)
    drawn = np.random.default_rng(seed).choice(len(index), size=count, p=probability / probability.sum())
    return ValidationDraws(index[drawn], probability[drawn], start_count, len(index))
