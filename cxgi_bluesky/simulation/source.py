"""Slow drift of the source's intensity."""

from __future__ import annotations

import math
from collections.abc import Iterator

import numpy as np

DRIFT_EXPOSURES = 200.0


def intensity_drift(rng: np.random.Generator, rms: float, tau: float = DRIFT_EXPOSURES) -> Iterator[float]:
    """Relative intensity 1 + d_k exposure after exposure; d_k is AR(1) with a memory of `tau` exposures."""
    memory = math.exp(-1 / tau)
    deviation = rms * rng.normal()
    while True:
        yield 1 + deviation
        deviation = memory * deviation + rms * math.sqrt(1 - memory**2) * rng.normal()
