"""Validation draws: probabilities that are right, and documents that rebuild them."""

import json

import numpy as np
import pytest

from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.masks.orders import power_share
from cxgi_bluesky.measurement.validation import ValidationDraws, draw_validation


def test_a_sum_over_all_candidates_is_estimated_without_bias():
    candidates = np.arange(5, 256)
    value = np.random.default_rng(1).exponential(size=256) * np.sqrt(power_share(16) + 1e-3)
    draws = draw_validation(16, candidates, 200_000, seed=2)
    estimate = value[draws.pattern_index] / draws.probability
    error = estimate.std() / np.sqrt(len(draws))
    assert abs(estimate.mean() - value[candidates].sum()) < 4 * error


def test_every_draw_is_a_candidate_and_the_same_for_the_same_seed():
    candidates = [3, 9, 200]
    first, again = (draw_validation(16, candidates, 40, seed=7) for _ in range(2))
    assert set(first.patterns) <= set(candidates)
    assert first.to_dict() == again.to_dict()


def test_the_document_is_plain_and_rebuilds_the_draws():
    draws = draw_validation(16, range(8, 256), 12, seed=0)
    rebuilt = ValidationDraws.from_dict(json.loads(json.dumps(draws.to_dict())))
    assert rebuilt.to_dict() == draws.to_dict()


@pytest.mark.parametrize(
    "broken", [{}, {"pattern_index": [1], "probability": [0.0]}, {"pattern_index": [1, 2], "probability": [0.1]}]
)
def test_malformed_draws_are_one_error(broken):
    with pytest.raises(CxgiError, match="validation draws are malformed"):
        ValidationDraws.from_dict(broken)


def test_nothing_to_draw_from_is_said():
    with pytest.raises(CxgiError, match="validation 4: the board has no pattern outside"):
        draw_validation(16, [], 4, seed=0)


@pytest.mark.parametrize("size", [2, 16, 64, 128, 256])
def test_the_power_of_every_pattern_is_positive_and_one_in_all(size):
    share = power_share(size)
    assert share[0] == 0
    assert (share[1:] > 0).all()
    assert share.sum() == pytest.approx(1)
