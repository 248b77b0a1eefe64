"""Rules and batches: new patterns only, the same for the same seed, and a user's rule like any other."""

import numpy as np
import pytest

from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.masks.pattern_set import coefficients
from cxgi_bluesky.reconstruction.planning.choose import (
    RULES,
    batch_size,
    choose_batch,
    rank_patterns,
    start_patterns,
)
from tests.conftest import smooth_image

SIZE = 16
START = start_patterns(SIZE).tolist()
VALIDATION = list(range(100, 140))
rules = pytest.mark.parametrize("rule", list(RULES))


def choose(rule="foreseen", seed=0, **options):
    options = {"measured": START, "validation": VALIDATION, "count": 40, **options}
    return choose_batch(smooth_image(SIZE), rule=rule, rng=np.random.default_rng(seed), **options)


@rules
def test_a_batch_is_new_and_holds_no_validation_pattern(rule):
    batch = choose(rule)
    assert len(set(batch.patterns)) == 40
    assert not set(batch.patterns) & {*START, *VALIDATION}
    assert set(batch.wanted) <= set(VALIDATION)


@rules
def test_the_same_seed_gives_the_same_batch(rule):
    assert choose(rule) == choose(rule)
    assert choose(rule) != choose(rule, seed=1)


@rules
def test_a_rule_ranks_every_pattern_that_is_left_once(rule):
    ranked = rank_patterns(smooth_image(SIZE), measured=START, rng=np.random.default_rng(0), rule=rule)
    assert sorted([*ranked.tolist(), *START]) == list(range(SIZE**2))


@rules
@pytest.mark.filterwarnings("error")
def test_an_image_without_contrast_and_one_without_noise_are_ranked_too(rule):
    for image, sigma in ((np.zeros((SIZE, SIZE)), 3.0), (smooth_image(SIZE), 0.0)):
        ranked = rank_patterns(image, measured=START, rng=np.random.default_rng(0), rule=rule, sigma=sigma)
        assert sorted([*ranked.tolist(), *START]) == list(range(SIZE**2))


def test_validation_patterns_are_wanted_as_if_they_were_ordinary():
    ordinary, apart = choose(validation=[]), choose()
    assert apart.wanted
    assert set(ordinary.patterns) <= {*apart.patterns, *apart.wanted}


def test_three_quarters_have_the_largest_coefficients():
    batch = choose("magnitude", validation=[])
    magnitude = np.abs(coefficients(smooth_image(SIZE), np.arange(SIZE**2)))
    magnitude[START] = 0
    assert set(np.argsort(-magnitude)[:30].tolist()) <= set(batch.patterns)


def test_a_batch_is_drawn_where_image_and_objects_have_power():
    magnitude = np.abs(coefficients(smooth_image(SIZE), np.arange(SIZE**2)))
    often = np.zeros(SIZE**2)
    for seed in range(40):
        often[choose(seed=seed, validation=[]).patterns] += 1
    left = np.setdiff1d(np.arange(SIZE**2), START)
    weak, strong = np.split(left[np.argsort(magnitude[left], kind="stable")], 2)
    assert often[strong].mean() > 2 * often[weak].mean() > 0


def test_only_what_the_board_has_is_chosen_and_fewer_when_no_more_is_left():
    batch = choose(available=[*START, 50, 60, 70, 101], count=10)
    assert sorted(batch.patterns) == [k for k in (50, 60, 70) if k not in START]


def test_a_rule_of_the_user_is_found(monkeypatch):
    monkeypatch.setitem(RULES, "finest", lambda knowledge: np.arange(SIZE**2)[::-1])
    assert choose("finest", count=3).patterns == [255, 254, 253]


def test_an_unknown_rule_is_one_error():
    with pytest.raises(CxgiError, match="rule 'best' is unknown: choose one of foreseen, magnitude"):
        choose("best")


@pytest.mark.parametrize(("size", "start", "batch"), [(16, 16, 4), (32, 24, 16), (64, 96, 64), (128, 384, 256)])
def test_start_and_batch_grow_with_the_patterns(size, start, batch):
    assert (len(start_patterns(size)), batch_size(size)) == (start, batch)
