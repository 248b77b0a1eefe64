from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.paper import curves, paper

EXPOSURES = (16, 32, 64)


@pytest.fixture
def short(monkeypatch):
    """A scan of 64 patterns in place of 1024."""
    monkeypatch.setattr(curves, "EXPOSURES", EXPOSURES)
    monkeypatch.setitem(paper.EXPOSURES_SHOWN, "hadamard", (32, 64))


def test_a_short_curve_is_measured(short):
    curve, shown, truth = curves.hadamard_curve("cu_board", 0)
    assert len(curve) == len(EXPOSURES)
    assert truth.shape == (32, 32)
    assert [image.shape for image in shown.values()] == [(32, 32)] * 2
    assert list(shown) == [32, 64]
    assert all(1 < value < 4 for value in curve)
    perfect = curves.hadamard_curve("perfect_board", 0)[0]
    assert perfect[-1] > curve[-1]
    assert perfect == sorted(perfect)


def test_errors_are_switched_off_one_by_one():
    cases = curves.cases(3)
    both, perfect = cases["cu_board"], cases["perfect_board"]
    assert both.defects.seed == 3
    assert (perfect.defects, perfect.stage_rms_um, perfect.drift_rms) == (None, 0, 0)
    assert perfect.detector.electrometer_fa == 0
    assert cases["defects_only"].defects == both.defects
    assert cases["defects_only"].detector == perfect.detector
    assert cases["noise_only"].defects is None
    assert cases["noise_only"].detector == both.detector
    assert cases["insensitive_detector"].detector.electrometer_fa == curves.INSENSITIVE_FA


def test_mean_and_spread_over_the_seeds():
    found = curves.summary([[1.0, 2.0], [3.0, 2.0]], (16, 32))
    assert found == {"exposures": [16, 32], "cnr_mean": [2.0, 2.0], "cnr_std": [pytest.approx(math.sqrt(2)), 0.0]}


def test_one_seed_has_no_spread():
    found = curves.summary([[1.0, 2.0]], (16, 32))
    assert found["cnr_mean"] == [1.0, 2.0]
    assert np.isnan(found["cnr_std"]).all()


@pytest.mark.parametrize(("level", "needed"), [(0.5, 16), (1.0, 16), (1.5, 24), (2.0, 32), (2.5, 48)])
def test_exposures_for_a_cnr(level, needed):
    assert curves.exposures_needed(level, {"exposures": [16, 32, 64], "cnr_mean": [1.0, 2.0, 3.0]}) == needed


def test_the_first_time_counts_on_a_curve_that_falls_again():
    assert curves.exposures_needed(1.5, {"exposures": [10, 20, 30, 40], "cnr_mean": [1.0, 2.0, 1.0, 2.0]}) == 15


def test_a_cnr_that_is_never_reached():
    assert math.isnan(curves.exposures_needed(3.1, {"exposures": [16, 32, 64], "cnr_mean": [1.0, 2.0, 3.0]}))


def test_how_many_times_the_exposures_sandpaper_takes():
    hadamard = {"exposures": [10, 20, 40, 80], "cnr_mean": [1.0, 2.0, 3.0, 2.5]}
    sandpaper = {"exposures": [100, 200, 400], "cnr_mean": [1.0, 2.0, 2.5]}
    rows = curves.sandpaper_ratio(hadamard, sandpaper)
    assert [row["cnr"] for row in rows] == [1.0, 2.0, 3.0]  # the rising side alone
    assert [row["ratio"] for row in rows[:2]] == [10, 10]
    assert math.isnan(rows[2]["ratio"])
