"""The floor of the coefficients' power, against scipy's non-negative least squares."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import nnls

from cxgi_bluesky.measurement.coefficients import _best_floor


@pytest.mark.parametrize("seed", range(20))
def test_is_the_best_of_the_non_negative_fits(seed):
    rng = np.random.default_rng(seed)
    middle = np.sort(rng.uniform(1, 4000, 12))
    power = (middle ** -rng.uniform(0, 4) + rng.choice([0, 1e-6, 1e-3])) * rng.uniform(0.5, 2, 12)
    laws, flat = middle ** -np.arange(1.0, 5.1, 0.25)[:, None] / power, 1 / power
    laws /= laws.max(axis=1, keepdims=True)
    fits = [nnls(np.stack([law, flat], axis=1), np.ones(12)) for law in laws]
    amplitudes, _ = min(fits, key=lambda fit: fit[1])
    assert _best_floor(laws, flat) == pytest.approx(amplitudes[1], rel=1e-5, abs=1e-9 * power.max())
