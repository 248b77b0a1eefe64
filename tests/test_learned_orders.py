from __future__ import annotations

import numpy as np
import pytest

from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.masks.orders import sequency_grid
from cxgi_bluesky.masks.pattern_set import pattern
from tools.learned_orders import coefficient_variance


def test_a_set_of_one_pattern_has_all_its_power_there():
    k = 5 * 8 + 3
    u, v = (int(g[k]) for g in sequency_grid(8))
    variance = coefficient_variance([0.5 + 0.3 * pattern(8, k)])
    assert variance[u, v] == variance[v, u] == pytest.approx(0.5)
    assert variance.sum() == pytest.approx(1)


def test_the_mean_does_not_count_and_bright_objects_count_no_more_than_faint_ones():
    rng = np.random.default_rng(0)
    one, two = rng.random((8, 8)), rng.random((8, 8))
    np.testing.assert_allclose(coefficient_variance([one, two]), coefficient_variance([3 + one, 100 * two]))
    assert coefficient_variance([one])[0, 0] == 0


def test_nothing_to_learn_from():
    with pytest.raises(CxgiError, match="no image to learn an order from"):
        coefficient_variance([np.ones((8, 8))])
