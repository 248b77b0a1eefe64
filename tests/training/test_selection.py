from __future__ import annotations

import numpy as np
import pytest
import torch

from cxgi_bluesky.masks.orders import ranking
from cxgi_bluesky.training.config import SamplingConfig
from cxgi_bluesky.training.measurements import random_fractions, random_selection


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def test_selections_have_the_right_count_and_always_the_open_pattern():
    chosen = random_selection(generator(1), 64, torch.tensor([0.05, 0.1875, 1.0])).measured
    assert chosen.sum(dim=(1, 2, 3)).tolist() == [205, 768, 4096]
    many = random_selection(generator(2), 16, torch.full((200,), 0.1))
    assert many.measured[:, 0, 0, 0].tolist() == [1.0] * 200
    assert many.rank[:, 0, 0, 0].tolist() == [0] * 200


def test_rank_is_the_place_in_the_scan():
    chosen = random_selection(generator(3), 16, torch.tensor([0.3] * 20))
    for measured, rank in zip(chosen.measured, chosen.rank, strict=True):
        assert sorted(rank[measured > 0].tolist()) == list(range(77))
        assert int(rank[measured == 0].min()) >= 77


@pytest.mark.parametrize("order", ["cake-cutting", "zig-zag", "russian-dolls"])
@pytest.mark.parametrize("size", [32, 64])
def test_the_known_orders_are_among_them_to_the_last_pattern(order, size):
    count = round(0.1875 * size * size)
    wanted = np.zeros(size * size)
    wanted[ranking(order, size)[:count]] = 1
    seen = random_selection(generator(), size, torch.full((200,), 0.1875)).measured.reshape(200, -1).numpy()
    overlap = (seen * wanted).sum(axis=1) / count
    assert overlap.max() == 1
    assert overlap.min() < 0.9


def test_only_what_is_available_is_measured():
    available = torch.tensor([7, 0, 100, 30, 31, 32, 33, 34, 35, 200])
    chosen = random_selection(generator(), 16, torch.full((50,), 0.5), available).measured
    for one in chosen.reshape(50, -1):
        assert sorted(one.nonzero().ravel().tolist()) == sorted(available.tolist())


def test_fractions_as_configured_with_scans_that_have_only_begun():
    config = SamplingConfig((0.1, 0.5), usual=0.25, usual_share=0.3, whole_share=0.1, short_share=0.2, shortest=24)
    drawn = random_fractions(generator(), 5000, 64, config).numpy()
    assert np.mean(drawn == 0.25) == pytest.approx(0.3, abs=0.03)
    assert np.mean(drawn < 0.1) == pytest.approx(0.2, abs=0.03)
    assert drawn.min() == pytest.approx(24 / 4096, rel=0.05)
    assert np.mean(drawn == 1) == pytest.approx(0.1, abs=0.02)
    assert drawn[drawn < 1].max() <= 0.5 + 1e-6
    short = random_selection(generator(), 64, torch.tensor([24 / 4096, 1e-5])).measured
    assert short.sum(dim=(1, 2, 3)).tolist() == [24, 8]


def test_the_same_seed_is_the_same_selection():
    one, two = (random_selection(generator(9), 32, torch.full((8,), 0.2)) for _ in range(2))
    assert torch.equal(one.measured, two.measured)
    assert torch.equal(one.rank, two.rank)


def test_some_scans_choose_their_later_patterns_by_what_the_object_holds():
    exact = torch.randn(40, 1, 32, 32, generator=generator(1))  # no order knows where they are large
    fraction = torch.full((40,), 0.2)
    by_order = random_selection(generator(2), 32, fraction, exact=exact).measured
    by_object = random_selection(generator(2), 32, fraction, exact=exact, chosen_share=1.0).measured
    assert by_object.sum(dim=(1, 2, 3)).tolist() == by_order.sum(dim=(1, 2, 3)).tolist()
    assert by_object[:, 0, 0, 0].tolist() == [1.0] * 40
    found, expected = ((chosen * exact.square()).sum() / chosen.sum() for chosen in (by_object, by_order))
    assert float(found) > 1.3 * float(expected)
    available = torch.arange(0, 1024, 2)
    chosen = random_selection(generator(3), 32, fraction, available, exact=exact, chosen_share=1.0).measured
    assert chosen.reshape(40, -1)[:, 1::2].sum() == 0
