"""Turn stored exposures into calibrated buckets: dark, I0 and drift."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .outliers import Exposure


def subtract_dark(exposure: Exposure, dark: float) -> Exposure:
    """Subtract the dark from an exposure.

    Parameters
    ----------
    exposure : Exposure
        As it was stored.
    dark : float
        Bucket without beam, in the unit of the exposure's.
    """
    return replace(exposure, bucket=exposure.bucket - dark)


def count_reasons(reasons: Mapping[int, str]) -> str:
    """Count rejected exposures by reason."""
    names = list(reasons.values())
    return ", ".join(f"{reason} ({names.count(reason)})" for reason in sorted(set(names)))


def describe_source(source: Mapping[str, Any]) -> str:
    """Say in a few words where a measurement came from, and how much was left out; begins with a comma.

    Parameters
    ----------
    source : mapping
        Of a measurement.
    """
    runs = " and ".join(uid[:8] for uid in source.get("raw_uids", ()))
    left_out = len(source.get("left_out", ()))
    where = f", run {runs}" if runs else f", file {source['file']}" if "file" in source else ""
    return where + (f", {left_out} left out" if left_out else "")


def mean_bucket(stream: Mapping[int, Exposure]) -> tuple[float, float]:
    """Mean bucket, and the standard error of that mean.

    Parameters
    ----------
    stream : mapping of int to Exposure
        Exposures of one tile, dark subtracted (it does not follow I0).

    Returns
    -------
    mean, error : float
        Of buckets over I0 (1 without a monitor); both NaN without a usable exposure.
    """
    rows = Buckets.from_exposures(stream, 1.0)
    if not len(rows):
        return math.nan, math.nan
    if rows.has_sigma:
        single = float(np.sqrt(np.mean(rows.sigma[np.isfinite(rows.sigma)] ** 2)))
    else:
        single = float(np.std(rows.bucket, ddof=1)) if len(rows) > 1 else math.nan
    return float(rows.bucket.mean()), single / math.sqrt(len(rows))


def mean_i0(exposures: Iterable[Exposure]) -> float | None:
    """Mean intensity of the usable exposures, None without any."""
    readings = [e.i0 for e in exposures if math.isfinite(e.i0) and e.i0 > 0]
    return float(np.mean(readings)) if readings else None


# ---------------------------------------------------------------- calibration


Array = NDArray[np.float64]

MIN_REPEATS = 4  # open exposures from which a scatter or a drift is estimated


@dataclass(frozen=True, eq=False)
class Buckets:
    """Buckets as columns, one row per exposure: of one stream, or of a whole run with b_0, incident and validation.

    Attributes
    ----------
    pattern_index : ndarray of int64, shape (M,)
        Patterns, or numbers of the exposures of a reference tile.
    bucket : ndarray, shape (M,)
        Dark subtracted, for the same I0 (pA, or counts).
    sigma : ndarray, shape (M,)
        One standard deviation of each bucket; NaN where the detector reports none.
    time : ndarray, shape (M,)
        Seconds since the epoch.
    sigma_origin : str
        Where sigma came from; begins with "estimated" when the detector did not report it.
    open_bucket : (float, float), optional
        All-open bucket b_0 and its sigma.
    incident : float, optional
        All-open bucket with the object out.
    validation : ndarray of int64
        Patterns kept for validation; not used in images.
    mean_i0 : float
        What the buckets are normalised to; NaN without a monitor.
    source : dict
        Where the buckets came from.
    """

    pattern_index: NDArray[np.int64]
    bucket: Array
    sigma: Array
    time: Array
    sigma_origin: str = "given"
    open_bucket: tuple[float, float] | None = None
    incident: float | None = None
    validation: NDArray[np.int64] = field(default_factory=lambda: np.empty(0, np.int64))
    mean_i0: float = math.nan
    source: dict[str, Any] = field(default_factory=dict)

    def __len__(self) -> int:
        return len(self.bucket)

    @classmethod
    def from_exposures(cls, stream: Mapping[int, Exposure], usual_i0: float) -> Buckets:
        """Collect the exposures whose bucket is a number, scaled to the same intensity.

        Parameters
        ----------
        stream : mapping of int to Exposure
            Exposures by their index, dark subtracted; those without a positive I0 are left out.
        usual_i0 : float
            The intensity that buckets are scaled to, in the unit of I0.
        """
        good = {k: e for k, e in stream.items() if math.isfinite(e.bucket) and e.i0 / usual_i0 > 0}
        rows = [(e.bucket, e.sigma, e.i0 / usual_i0, e.time) for e in good.values()]
        bucket, sigma, intensity, time = np.array(rows, dtype=np.float64).reshape(-1, 4).T
        return cls(np.array(list(good), dtype=np.int64), bucket / intensity, sigma / intensity, time)

    @property
    def has_sigma(self) -> bool:
        """Whether a standard deviation is known."""
        return bool(np.isfinite(self.sigma).any())

    def typical_sigma(self) -> float | None:
        """Sigma of one exposure of the same tile: as reported, else the scatter; None with fewer than four."""
        given = self.sigma[np.isfinite(self.sigma)]
        if len(given):
            return math.sqrt(float(np.mean(given**2)))
        return self.scatter() if len(self) >= MIN_REPEATS else None

    def scatter(self) -> float:
        """Sigma of one exposure of the same tile, from successive differences: blind to slow drift."""
        bucket = self.bucket[np.argsort(self.time)]
        return math.sqrt(float(np.mean(np.diff(bucket) ** 2)) / 2)

    def without_drift(self, drift: Drift) -> Buckets:
        """Divide out the relative intensity of the source at the time of each exposure."""
        relative = drift(self.time)
        return replace(self, bucket=self.bucket / relative, sigma=self.sigma / relative)


def calibrate(rows: Buckets, opened: Buckets, drift: Drift) -> Buckets:
    """Correct the drift, then estimate sigma of each bucket, and b_0 from the open exposures and pattern_index 0.

    Parameters
    ----------
    rows : Buckets
        Of the patterns, M rows.
    opened : Buckets
        Of the open tile with the object in.
    drift : Drift
        Of the source during the run.
    """
    rows = rows.without_drift(drift)
    sigma, origin = _estimate_sigma(rows, opened)
    rows = replace(rows, sigma=sigma, sigma_origin=origin)
    at_zero = rows.pattern_index == 0
    repeats = np.concatenate([opened.without_drift(drift).bucket, rows.bucket[at_zero]])
    if not len(repeats):
        return rows
    single = opened.typical_sigma()
    if single is None:
        single = float(sigma[at_zero][0]) if rows.has_sigma and at_zero.any() else 0.0
    # Equal weights: the sigma of one exposure is itself too uncertain to weight by.
    return replace(rows, open_bucket=(float(repeats.mean()), single / math.sqrt(len(repeats))))


def _estimate_sigma(rows: Buckets, opened: Buckets) -> tuple[Array, str]:
    if rows.has_sigma:
        return smooth_sigma(rows.bucket, rows.sigma), "given"
    if len(opened) >= MIN_REPEATS:
        return np.full_like(rows.bucket, opened.scatter()), "estimated: open tile"
    return rows.sigma, "estimated"


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
        One standard deviation of each bucket, NaN where it is not known; one at least is.

    Returns
    -------
    ndarray, shape (M,)
        In the unit of the buckets.
    """
    known = np.isfinite(sigma)
    variance = sigma[known] ** 2
    constant = np.full_like(bucket, math.sqrt(float(variance.mean())))
    if len(variance) < 8 or np.ptp(bucket[known]) == 0:
        return constant
    slope, offset = np.polyfit(bucket[known], variance, 1)
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
