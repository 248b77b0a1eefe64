"""Find exposures that cannot be trusted, without looking at other patterns.

Hadamard coefficients are heavy-tailed: an honest one may lie hundreds of sigma from its neighbours in
any order, so being unlike its neighbours shows nothing. Each exposure is checked by itself instead: its own
spread, the incident intensity during it, repeats of the same pattern, and the open tile before and
after it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

NOT_A_NUMBER, SPREAD, INTENSITY = "not a number", "spread", "I0"
REPEATS, DRIFT = "repeats disagree", "source jumped"

MAX_SPREAD = 4.0  # times the noise law; the few readings of an exposure give its spread to about 25 %
MAX_I0_CHANGE = 0.3  # of the median, and five times the usual: the source or the shutter was not ready
MAX_JUMP = 0.05  # of the open bucket, from one open exposure to the next
UNUSUAL = 4.0  # times the median change between open exposures
DISAGREEMENT = 5.0  # sigma
_MIN_SPREADS, _MIN_SPANS = 8, 4


@dataclass(frozen=True)
class Exposure:
    """One stored exposure: bucket and sigma in pA, I0 in its own unit, time in s since the epoch."""

    bucket: float
    sigma: float
    i0: float
    time: float


def select_valid(
    stream: Mapping[int, Sequence[Exposure]], opened: Sequence[Exposure]
) -> tuple[dict[int, Exposure], dict[int, str]]:
    """Choose the valid exposure of each pattern, and give the reason where there is none.

    Parameters
    ----------
    stream : mapping
        All exposures of each pattern_index, in the order of time, dark subtracted; the last one counts,
        unless it alone contradicts two or more that agree with each other.
    opened : sequence of Exposure
        Of the open tile, with the object in, dark subtracted.

    Returns
    -------
    good : dict of Exposure
    reasons : dict of str
        Of each pattern_index that is left out.
    """
    every = [exposure for repeats in stream.values() for exposure in repeats]
    limits = _Limits.from_exposures(every, opened)
    good: dict[int, Exposure] = {}
    reasons: dict[int, str] = {}
    for index, repeats in stream.items():
        faults = [limits.fault(exposure) for exposure in repeats]
        sound = [exposure for exposure, fault in zip(repeats, faults, strict=True) if fault is None]
        if not sound:
            reasons[index] = str(faults[-1])
        elif (chosen := _choose_repeat(sound)) is None:
            reasons[index] = REPEATS
        else:
            good[index] = chosen
    return good, reasons


def valid_open(opened: Sequence[Exposure]) -> list[Exposure]:
    """Open exposures (dark subtracted) without those that are no number or alone between two that agree."""
    usable = sorted((e for e in opened if math.isfinite(e.bucket) and e.i0 > 0), key=lambda e: e.time)
    alone = {
        n
        for n in range(1, len(usable) - 1)
        if _has_jumped(usable[n - 1], usable[n])
        and _has_jumped(usable[n], usable[n + 1])
        and not _has_jumped(usable[n - 1], usable[n + 1])
    }
    return [e for n, e in enumerate(usable) if n not in alone]


def agreeing(exposures: Sequence[Exposure]) -> list[Exposure]:
    """Exposures of one tile (dark subtracted), taken one after another, without those that differ from the median one.

    Fewer than three are returned as they are: none of them can be known to be the wrong one.
    """
    usable = sorted((e for e in exposures if math.isfinite(e.bucket) and e.i0 > 0), key=lambda e: e.bucket / e.i0)
    if len(usable) < 3:
        return usable
    median = usable[len(usable) // 2]
    return sorted((e for e in usable if not _has_jumped(median, e)), key=lambda e: e.time)


def with_usual_intensity(exposures: Sequence[Exposure], others: Sequence[Exposure]) -> list[Exposure]:
    """Exposures without those whose incident intensity is unlike that of all together.

    The beam may have been gone, and what is left of an intensity near 0 would be divided by.

    Parameters
    ----------
    exposures : sequence of Exposure
        Those to choose from.
    others : sequence of Exposure
        Of the same run; they help to find the usual intensity.
    """
    usual, largest_change = _usual_i0([*exposures, *others])
    return [e for e in exposures if not abs(e.i0 / usual - 1) > largest_change]


def _usual_i0(every: Sequence[Exposure]) -> tuple[float, float]:
    """Median of the incident intensity, and the largest change from it that one exposure may have."""
    i0 = np.array([e.i0 for e in every if math.isfinite(e.i0) and e.i0 > 0] or [1.0])
    median = float(np.median(i0))
    usual_change = 1.4826 * float(np.median(np.abs(i0 / median - 1)))
    return median, max(MAX_I0_CHANGE, 5 * usual_change)


@dataclass(frozen=True, eq=False)
class _Limits:
    """Limits within which an exposure of this run is valid."""

    i0: float
    largest_i0_change: float
    law: tuple[float, float, float]  # variance = slope * bucket + offset, at least so much; NaN: sigma is not known
    jumps: NDArray[np.float64]  # (J, 2) times between which the source jumped

    @classmethod
    def from_exposures(cls, every: Sequence[Exposure], opened: Sequence[Exposure]) -> _Limits:
        """The limits of a run, from its exposures.

        Parameters
        ----------
        every : sequence of Exposure
            All of the patterns, dark subtracted.
        opened : sequence of Exposure
            Of the open tile, with the object in, dark subtracted.
        """
        jumps = _jumps(valid_open(opened), np.array([e.time for e in every]))
        return cls(*_usual_i0(every), _noise_law(every), jumps)

    def fault(self, exposure: Exposure) -> str | None:
        """Why the exposure cannot be trusted, None if it can."""
        if not (math.isfinite(exposure.bucket) and math.isfinite(exposure.i0)):
            return NOT_A_NUMBER
        if exposure.i0 <= 0 or abs(exposure.i0 / self.i0 - 1) > self.largest_i0_change:
            return INTENSITY
        slope, offset, least = self.law
        if exposure.sigma**2 > MAX_SPREAD**2 * max(slope * exposure.bucket + offset, least) > 0:
            return SPREAD
        if ((self.jumps[:, 0] < exposure.time) & (exposure.time < self.jumps[:, 1])).any():
            return DRIFT
        return None


def _noise_law(every: Sequence[Exposure]) -> tuple[float, float, float]:
    """Slope and offset of variance against bucket, from the exposures whose spread is ordinary, and its least."""
    known = np.array([(e.bucket, e.sigma**2) for e in every if math.isfinite(e.bucket) and math.isfinite(e.sigma)])
    if len(known) < _MIN_SPREADS:
        return math.nan, math.nan, math.nan
    bucket, variance = known.T
    median = float(np.median(variance))
    ordinary = variance <= MAX_SPREAD**2 * median
    if np.ptp(bucket[ordinary]) == 0:
        return 0.0, median, median
    slope, offset = np.polyfit(bucket[ordinary], variance[ordinary], 1)
    return float(slope), float(offset), median / 4  # a straight line may leave nothing for the smallest buckets


def _jumps(opened: Sequence[Exposure], times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Times of successive open exposures between which the source jumped while patterns were exposed.

    A drift is no jump: it is corrected. So a change must also be large against those of the other
    intervals of the scan, and where a quarter of the patterns would go nothing is left out.
    """
    spans = [(one, two) for one, two in pairwise(opened) if ((one.time < times) & (times < two.time)).any()]
    if len(spans) < _MIN_SPANS:
        return np.empty((0, 2))
    changes = np.array([abs(two.bucket / two.i0 - one.bucket / one.i0) for one, two in spans])
    pairs = [
        (one.time, two.time)
        for n, (one, two) in enumerate(spans)
        if _has_jumped(one, two) and changes[n] > UNUSUAL * np.median(np.delete(changes, n))
    ]
    inside = sum(int(((one < times) & (times < two)).sum()) for one, two in pairs)
    return np.array(pairs if inside <= len(times) / 4 else [], dtype=np.float64).reshape(-1, 2)


def _has_jumped(one: Exposure, two: Exposure) -> bool:
    """Whether the open tile's level changed by more than 5 % and by more than the noise explains."""
    levels = one.bucket / one.i0, two.bucket / two.i0
    sigma = math.hypot(*(s if math.isfinite(s) else 0.0 for s in (one.sigma / one.i0, two.sigma / two.i0)))
    change = abs(levels[1] - levels[0])
    return change > max(MAX_JUMP * abs(levels[0] + levels[1]) / 2, DISAGREEMENT * sigma)


def _choose_repeat(repeats: Sequence[Exposure]) -> Exposure | None:
    """The last of the repeats, unless two or more others agree against it; None if those do not agree."""
    last, others = repeats[-1], repeats[:-1]
    if len(others) < 2 or any(_same(last, other) for other in others):
        return last
    agreeing = [e for e in others if sum(_same(e, other) for other in others) > len(others) / 2]
    return agreeing[-1] if len(agreeing) > 1 else None


def _same(one: Exposure, other: Exposure) -> bool:
    sigma = math.hypot(one.sigma, other.sigma)
    if not math.isfinite(sigma) or sigma == 0:
        sigma = 0.01 * max(abs(one.bucket), abs(other.bucket))  # the noise is not known: within 5 %
    return abs(one.bucket / one.i0 - other.bucket / other.i0) * max(one.i0, other.i0) <= DISAGREEMENT * sigma
