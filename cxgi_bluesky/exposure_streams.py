"""Streams of stored exposures as numbers: without the dark, for the same intensity, and their level."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from .rejection import Exposure


def without(dark: float, exposure: Exposure) -> Exposure:
    """An exposure with the dark subtracted."""
    return replace(exposure, bucket=exposure.bucket - dark)


def counted(reasons: Mapping[int, str]) -> str:
    """How many exposures each reason has cost."""
    names = list(reasons.values())
    return ", ".join(f"{reason} ({names.count(reason)})" for reason in sorted(set(names)))


def usable(stream: Mapping[int, Exposure], usual_i0: float) -> Iterator[tuple[int, float, float, float]]:
    """Index, bucket, sigma and time of the exposures whose bucket is a number, for the same intensity."""
    for key, exposure in stream.items():
        intensity = exposure.i0 / usual_i0
        if math.isfinite(exposure.bucket) and intensity > 0:
            yield key, exposure.bucket / intensity, exposure.sigma / intensity, exposure.time


def level(stream: Mapping[int, Exposure], dark: float) -> tuple[float, float]:
    """Mean bucket without the dark, and the standard error of that mean."""
    rows = [(bucket - dark, sigma) for _, bucket, sigma, _ in usable(stream, 1.0)]
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
