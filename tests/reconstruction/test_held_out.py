from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cxgi_bluesky.patterns import PatternSet
from cxgi_bluesky.reconstruction.held_out import checked_reconstruction, held_out_score
from cxgi_bluesky.simulation.objects import block_mean, render_object
from cxgi_bluesky.simulation.random_objects import random_object
from tests.conftest import signed_measurement

FEW = PatternSet.from_fraction(32, 0.3)


def shuffled(m, seed=0):
    coefficient, others = m.coefficient.copy(), np.flatnonzero(m.pattern_index != 0)
    coefficient[others] = coefficient[np.random.default_rng(seed).permutation(others)]
    return replace(m, coefficient=coefficient)


@pytest.mark.parametrize("method", ["tv", "ch-mwcnn"])
@pytest.mark.parametrize("name", ["CAS", "gold"])
def test_a_true_picture_predicts_and_shuffled_buckets_do_not(method, name):
    m = signed_measurement(block_mean(render_object(name, 32, 4), 4), FEW, sigma=5.0)
    assert held_out_score(m, method=method)["explained"] > 0.5
    for seed in range(5):
        score = held_out_score(shuffled(m, seed), method=method)
        assert score["explained"] < 0
        assert not score["supported"]


def test_random_objects_are_told_from_their_shuffled_buckets():
    rng = np.random.default_rng(0)
    supported = []
    for seed in range(30):
        m = signed_measurement(random_object(rng, 32), FEW, sigma=1.0)
        supported.append([held_out_score(x, method="tv")["supported"] for x in (m, shuffled(m, seed))])
    true, false = np.mean(supported, axis=0)
    assert true > 0.9
    assert false == 0


def test_methods_that_predict_nothing_and_short_scans_have_no_score():
    m = signed_measurement(block_mean(render_object("CAS", 32, 4), 4), FEW, sigma=1.0)
    for method in ("inverse", "correlation"):
        assert held_out_score(m, method=method) is None
    assert held_out_score(m.first(40), method="tv") is None
    assert held_out_score(m.first(64), method="tv")["patterns"] == 8


def test_the_score_comes_with_the_picture_and_costs_it_no_pattern():
    m = signed_measurement(block_mean(render_object("CAS", 32, 4), 4), FEW, sigma=1.0)
    result = checked_reconstruction(m, method="tv")
    assert result.exposures == FEW.count
    assert result.quality["held_out"] == held_out_score(m, method="tv")
    assert {"data_misfit", "held_out"} == set(result.quality)


def test_flat_data_support_nothing():
    m = signed_measurement(np.full((32, 32), 0.5), FEW)
    assert not held_out_score(m, method="tv")["supported"]
