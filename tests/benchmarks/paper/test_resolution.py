from __future__ import annotations

import pytest

from benchmarks.paper import paper
from benchmarks.paper.resolution import summary
from tests.benchmarks.paper.synthetic import resolution


def test_means_over_the_seeds_and_the_largest_deviation():
    found = summary([resolution(0), resolution(2)])
    x, y = found["knife_edge"]["x"], found["knife_edge"]["y"]
    assert (x["true_um"], y["true_um"]) == paper.SPOT_UM
    assert x == {"true_um": 30.0, "fwhm_um": 31.0, "stated_sigma_um": 0.5, "largest_pull": 4.0}
    assert y["largest_pull"] == pytest.approx(2.0)
    assert [row["ghost_um"] for row in found["edges"]] == [13.0] * 3
    assert [row["spot_x_um"] for row in found["edges"]] == [10.0, 30.0, 100.0]
    assert all(set(row) == set(resolution(0).edges[0]) for row in found["edges"])


def test_one_seed_is_its_own_mean():
    found = summary([resolution(1)])
    assert found["knife_edge"]["x"]["fwhm_um"] == 31.0
    assert found["edges"] == resolution(1).edges
