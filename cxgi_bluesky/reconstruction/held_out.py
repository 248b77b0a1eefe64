"""How far to trust a picture without a truth: predict patterns that it was not made from.

Some of the measured patterns are held back, the picture is made from the others, and what it
predicts for those held back is compared with what was measured. A picture of a real object
predicts most of their power; a picture made of wrong data, or of little else than noise, predicts
nothing.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from ..measurement import Measurement
from ..patterns import walsh_hadamard_2d
from . import reconstruct
from .result import Reconstruction

FEWEST_PATTERNS = 64
LEAST_EXPLAINED = 0.05  # of 120 sets of shuffled buckets of random objects, none reached it
NOT_PREDICTING = ("inverse", "correlation")  # they set to 0 whatever was not measured


def held_out_score(
    measurement: Measurement, *, method: str, patterns: int = 64, seed: int = 0, **options: Any
) -> dict[str, Any] | None:
    """Score of a method on this measurement.

    Parameters
    ----------
    measurement : Measurement
    method : str
    patterns : int
        How many are held back, at most an eighth of those measured, drawn at random (k = 0 never).
    seed : int
        Of the draw.
    **options
        For the method.

    Returns
    -------
    dict or None
        ``patterns`` held back; ``explained``, the share of their power that was predicted (1 = all,
        0 = no better than nothing, negative = worse); ``supported``, whether that is more than 5 %.
        None for methods that predict nothing, and for fewer than 64 patterns.
    """
    if method in NOT_PREDICTING or len(measurement) < FEWEST_PATTERNS:
        return None
    candidates = np.flatnonzero(measurement.pattern_index != 0)
    held = np.random.default_rng(seed).choice(candidates, min(patterns, len(measurement) // 8), replace=False)
    kept = np.delete(np.arange(len(measurement)), held)
    image = np.asarray(reconstruct(measurement.rows(kept), method=method, **options).image, dtype=np.float64)
    predicted = walsh_hadamard_2d(image).ravel()[measurement.pattern_index[held]]
    measured = measurement.coefficient[held]
    power = float(np.mean(measured**2))
    explained = 1 - float(np.mean((predicted - measured) ** 2)) / power if power > 0 else 0.0
    return {"patterns": len(held), "explained": explained, "supported": explained > LEAST_EXPLAINED}


def checked_reconstruction(measurement: Measurement, *, method: str, **options: Any) -> Reconstruction:
    """`reconstruct`, with the score under ``quality["held_out"]`` (not part of its `seconds`)."""
    result = reconstruct(measurement, method=method, **options)
    score = held_out_score(measurement, method=method, **options)
    return replace(result, quality={**result.quality, "held_out": score})
