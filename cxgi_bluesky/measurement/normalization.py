"""Streams of stored exposures as numbers: without the dark, for the same intensity, and their level."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .outliers import Exposure


def without(dark: float, exposure: Exposure) -> Exposure:
    """An exposure with the dark subtracted.

    Parameters
    ----------
    dark : float
        Bucket without beam, in the unit of the exposure's.
    exposure : Exposure
        As it was stored.
    """
    return replace(exposure, bucket=exposure.bucket - dark)


def count_reasons(reasons: Mapping[int, str]) -> str:
    """How many exposures each reason has cost."""
    names = list(reasons.values())
    return ", ".join(f"{reason} ({names.count(reason)})" for reason in sorted(set(names)))


def usable(stream: Mapping[int, Exposure], usual_i0: float) -> Iterator[tuple[int, float, float, float]]:
    """Index, bucket, sigma and time of the exposures whose bucket is a number, for the same intensity.

    Parameters
    ----------
    stream : mapping of int to Exposure
        Exposures by their index; those without a positive I0 are left out.
    usual_i0 : float
        The intensity that buckets are scaled to, in the unit of I0.

    Yields
    ------
    index : int
    bucket, sigma : float
        Times `usual_i0` over the exposure's own I0.
    time : float
        In s since the epoch.
    """
    for key, exposure in stream.items():
        intensity = exposure.i0 / usual_i0
        if math.isfinite(exposure.bucket) and intensity > 0:
            yield key, exposure.bucket / intensity, exposure.sigma / intensity, exposure.time


def level(stream: Mapping[int, Exposure], dark: float) -> tuple[float, float]:
    """Mean bucket without the dark, and the standard error of that mean.

    Parameters
    ----------
    stream : mapping of int to Exposure
        Exposures of one tile, dark not subtracted.
    dark : float
        Bucket without beam, in the unit of the buckets.

    Returns
    -------
    mean, error : float
        Of buckets over I0 (1 without a monitor); both NaN without a usable exposure.
    """
    lit = {key: without(dark, exposure) for key, exposure in stream.items()}  # the dark does not follow I0
    rows = [(bucket, sigma) for _, bucket, sigma, _ in usable(lit, 1.0)]
    if not rows:
        return math.nan, math.nan
    bucket, sigma = np.array(rows).T
    told = float(np.sqrt(np.mean(sigma**2)))
    single = told if math.isfinite(told) else float(np.std(bucket, ddof=1)) if len(bucket) > 1 else math.nan
    return float(bucket.mean()), single / math.sqrt(len(bucket))


def mean_i0(exposures: Iterable[Exposure]) -> float | None:
    """Mean intensity of the usable exposures, None without any."""
    readings = [e.i0 for e in exposures if math.isfinite(e.i0) and e.i0 > 0]
    return float(np.mean(readings)) if readings else None


# ---------------------------------------------------------------- calibration


Array = NDArray[np.float64]

MIN_REPEATS = 4  # open exposures from which a scatter or a drift is judged


@dataclass(frozen=True)
class Buckets:
    """Exposures of one stream as columns; sigma is NaN where the detector does not tell it."""

    index: NDArray[np.int64]
    bucket: Array
    sigma: Array
    time: Array

    @classmethod
    def of(cls, rows: Iterable[tuple[int, float, float, float]]) -> Buckets:
        """Columns of rows (index, bucket, sigma, time)."""
        table = list(rows)
        columns = np.array([row[1:] for row in table], dtype=np.float64).reshape(-1, 3).T
        return cls(np.array([row[0] for row in table], dtype=np.int64), *columns)

    def typical_sigma(self) -> float | None:
        """Sigma of one exposure of the same tile: as told, else the scatter; None from too few."""
        told = self.sigma[np.isfinite(self.sigma)]
        if len(told):
            return math.sqrt(float(np.mean(told**2)))
        return self.scatter() if len(self.bucket) >= MIN_REPEATS else None

    def scatter(self) -> float:
        """Sigma of one exposure of the same tile, from successive differences: blind to slow drift."""
        bucket = self.bucket[np.argsort(self.time)]
        return math.sqrt(float(np.mean(np.diff(bucket) ** 2)) / 2)

    def corrected(self, drift: Drift) -> Buckets:
        """The drift divided out."""
        relative = drift(self.time)
        return replace(self, bucket=self.bucket / relative, sigma=self.sigma / relative)


@dataclass(frozen=True)
class Calibrated:
    """Buckets ready for reduction; sigma is None where nothing tells it."""

    bucket: Array
    sigma: Array | None
    sigma_origin: str
    open_bucket: tuple[float, float] | None


def calibrate(rows: Buckets, opened: Buckets, drift: Drift) -> Calibrated:
    """Divide out the drift; sigma of each bucket, and b_0 from the open exposures and pattern_index 0.

    Parameters
    ----------
    rows : Buckets
        Of the patterns, M rows, dark subtracted, for the same intensity.
    opened : Buckets
        Of the open tile with the object in, likewise.
    drift : Drift
        Of the source during the run.
    """
    rows = rows.corrected(drift)
    sigma, origin = _sigma(rows, opened)
    repeats = np.concatenate([opened.corrected(drift).bucket, rows.bucket[rows.index == 0]])
    if not len(repeats):
        return Calibrated(rows.bucket, sigma, origin, None)
    single = _sigma_of_an_open_exposure(rows, opened, sigma)
    # Equal weights: the sigma of one exposure is itself too uncertain to weight by.
    return Calibrated(rows.bucket, sigma, origin, (float(repeats.mean()), single / math.sqrt(len(repeats))))


def _sigma(rows: Buckets, opened: Buckets) -> tuple[Array | None, str]:
    if np.isfinite(rows.sigma).any():
        return smooth_sigma(rows.bucket, rows.sigma), "given"
    if len(opened.bucket) >= MIN_REPEATS:
        return np.full_like(rows.bucket, opened.scatter()), "estimated: open tile"
    return None, "estimated"


def _sigma_of_an_open_exposure(rows: Buckets, opened: Buckets, sigma: Array | None) -> float:
    typical = opened.typical_sigma()
    if typical is not None:
        return typical
    at_zero = rows.index == 0
    return float(sigma[at_zero][0]) if sigma is not None and at_zero.any() else 0.0


def smooth_sigma(bucket: Array, sigma: Array) -> Array:
    """Sigma of each bucket from the noise law var = a * bucket + b fitted to all of them.

    The few readings inside one exposure give its sigma to 20 % or worse; all together they give
    the shot and electrometer noise well. Falls back to the mean variance when the law is
    unphysical or there are fewer than eight exposures.

    Parameters
    ----------
    bucket : ndarray, shape (M,)
        In any unit.
    sigma : ndarray, shape (M,)
        One standard deviation of each bucket, NaN where it is not told; one at least is.

    Returns
    -------
    ndarray, shape (M,)
        In the unit of the buckets.
    """
    told = np.isfinite(sigma)
    variance = sigma[told] ** 2
    constant = np.full_like(bucket, math.sqrt(float(variance.mean())))
    if len(variance) < 8 or np.ptp(bucket[told]) == 0:
        return constant
    slope, offset = np.polyfit(bucket[told], variance, 1)
    law: NDArray[Any] = slope * bucket + offset
    return constant if slope < 0 or law.min() <= 0 else np.sqrt(law)


@dataclass(frozen=True)
class Drift:
    """Relative source intensity over time, from repeated open exposures.

    A single open exposure is noisier than a typical drift, so the deviations are shrunk by the
    share of their variance that the noise does not explain: no drift seen, none corrected.
    """

    time: Array
    relative: Array

    @property
    def rms(self) -> float:
        """Root mean square of the correction."""
        return float(np.std(self.relative)) if len(self.relative) else 0.0

    @classmethod
    def from_open(cls, opened: Buckets) -> Drift:
        """Drift seen by the exposures of the open tile; none with fewer than four of them."""
        sigma = opened.typical_sigma()
        if sigma is None or len(opened.bucket) < MIN_REPEATS or opened.bucket.mean() <= 0:
            return cls(np.empty(0), np.empty(0))
        order = np.argsort(opened.time)
        bucket = opened.bucket[order]
        deviation = bucket / bucket.mean() - 1
        noise = (sigma / bucket.mean()) ** 2
        variance = float(np.var(deviation, ddof=1))
        shrink = max(0.0, 1 - noise / variance) if variance > 0 else 0.0
        return cls(opened.time[order], 1 + shrink * deviation)

    def __call__(self, time: Array) -> Array:
        """Relative intensity at some times, 1 where none is known."""
        if not len(self.time):
            return np.ones_like(time)
        return np.interp(time, self.time, self.relative)
