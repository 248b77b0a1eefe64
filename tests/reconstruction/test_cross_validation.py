from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cxgi_bluesky.masks.pattern_set import PatternSet
from cxgi_bluesky.masks.transform import walsh_hadamard_2d
from cxgi_bluesky.measurement.coefficients import Coefficients
from cxgi_bluesky.measurement.measurement import Measurement
from cxgi_bluesky.reconstruction.cross_validation import cross_validate, reconstruct_and_check, score_prediction
from cxgi_bluesky.reconstruction.methods.tval3 import MultiplierStart
from cxgi_bluesky.reconstruction.solvers.primal_dual import WarmStart
from cxgi_bluesky.simulation.objects.registry import render_object
from cxgi_bluesky.simulation.objects.rendering import block_mean
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
    assert cross_validate(m, method=method)["explained"] > 0.5
    for seed in range(5):
        assert not cross_validate(shuffled(m, seed), method=method)["supported"]


def test_random_objects_are_told_from_their_shuffled_buckets():
    rng = np.random.default_rng(0)
    supported = []
    for seed in range(30):
        m = signed_measurement(random_object(rng, 32), FEW, sigma=1.0)
        supported.append([cross_validate(x, method="tv")["supported"] for x in (m, shuffled(m, seed))])
    true, false = np.mean(supported, axis=0)
    assert true > 0.85  # fine textures predict nothing, and are called so
    assert false == 0


def test_linear_methods_are_judged_by_the_picture_that_tv_makes_of_their_data():
    m = signed_measurement(block_mean(render_object("CAS", 32, 4), 4), FEW, sigma=1.0)
    tv = cross_validate(m, method="tv")
    for method in ("inverse", "correlation"):
        assert cross_validate(m, method=method) == tv
        assert not cross_validate(shuffled(m), method=method)["supported"]
    assert tv["predictor"] == "tv"


def test_short_scans_have_no_score():
    m = signed_measurement(block_mean(render_object("CAS", 32, 4), 4), FEW, sigma=1.0)
    assert cross_validate(m.first(40), method="tv") is None
    short = cross_validate(m.first(80), method="tv")
    assert (short["patterns"], short["supported"]) == (20, None)  # too few to tell
    longer = cross_validate(m.first(160), method="tv")
    assert (longer["patterns"], longer["supported"]) == (40, True)


def test_validation_patterns_judge_what_lies_beyond_the_measured_ones():
    truth = block_mean(render_object("CAS", 32, 4), 4)
    m = signed_measurement(truth, FEW, sigma=1.0)
    outside = np.setdiff1d(np.arange(1024), m.pattern_index)[::20]
    exact = walsh_hadamard_2d(truth.astype(float)).ravel()[outside]
    told = replace(m, validation=Coefficients(outside, exact, None))
    assert cross_validate(m, method="tv")["outside"] is None
    assert cross_validate(told, method="tv")["outside"]["explained"] > 0.3
    checked = reconstruct_and_check(told, method="tv").quality["held_out"]
    assert checked["outside"]["explained"] == pytest.approx(cross_validate(told, method="tv")["outside"]["explained"])
    wrong = replace(m, validation=Coefficients(outside, exact[::-1].copy(), None))
    assert cross_validate(wrong, method="tv")["outside"]["explained"] < 0.1


def test_judged_by_hand():
    exact = np.array([5.0, -3.0, 2.0, 1.0])
    right = score_prediction(exact, exact, 2.0, 0)
    assert (right["explained"], right["residual_in_sigma"], right["patterns"]) == (1, 0, 4)
    assert score_prediction(exact, exact + 4, 2.0, 0)["residual_in_sigma"] == pytest.approx(2)
    nothing = score_prediction(0 * exact, exact, 0.0, 0)
    assert nothing["explained"] == pytest.approx(0)
    assert nothing["residual_in_sigma"] is None
    assert nothing["chance"] == 1  # nothing predicted: every shuffle fits as well


def test_the_error_of_the_open_bucket_is_no_fault_of_the_picture():
    truth = block_mean(render_object("CAS", 32, 4), 4).astype(float)
    outside = np.setdiff1d(np.arange(1024), FEW.pattern_index)[::20]
    index = np.concatenate([FEW.pattern_index, outside])
    bucket = (walsh_hadamard_2d(truth).ravel()[index] + truth.sum()) / 2
    told = {}
    for error in (0.0, 6.0):
        m = Measurement.from_buckets(
            32,
            index,
            bucket,
            coding="binary",
            sigma=np.full(len(index), 0.1),
            open_bucket=(truth.sum() + error, 2.0),
            validation=outside,
        )
        told[error] = cross_validate(m, method="tv")["outside"]["explained"]
    assert told[6.0] > told[0.0] - 0.1


@pytest.mark.parametrize("drift", [0.0, 30.0])
def test_a_source_that_drifts_before_all_validation_patterns_is_no_fault_of_the_picture(drift):
    truth = block_mean(render_object("CAS", 32, 4), 4).astype(float)
    outside = np.setdiff1d(np.arange(1024), FEW.pattern_index)[::20]
    index = np.concatenate([FEW.pattern_index, outside])
    bucket = (walsh_hadamard_2d(truth).ravel()[index] + truth.sum()) / 2
    bucket[len(FEW.pattern_index) :] += drift / 2  # which is what they are in
    words = {"coding": "binary", "sigma": np.full(len(index), 0.1), "open_bucket": (truth.sum(), 0.1)}
    m = Measurement.from_buckets(32, index, bucket, validation=outside, **words)
    assert cross_validate(m, method="tv")["outside"]["explained"] > 0.3


def test_the_score_comes_with_the_picture_and_costs_it_no_pattern():
    m = signed_measurement(block_mean(render_object("CAS", 32, 4), 4), FEW, sigma=1.0)
    result = reconstruct_and_check(m, method="tv")
    assert result.exposures == FEW.count
    assert result.quality["held_out"] == cross_validate(m, method="tv")
    assert {"data_misfit", "unmeasured_share", "held_out", "light_error"} == set(result.quality)


@pytest.mark.parametrize(("method", "start"), [("tv", WarmStart), ("tval3", MultiplierStart)])
def test_the_score_of_a_warm_start_is_that_of_a_cold_one(method, start):
    m = signed_measurement(block_mean(render_object("CAS", 32, 4), 4), FEW, sigma=1.0)
    warm = start()
    result = reconstruct_and_check(m, method=method, warm=warm, details=True)
    assert result.quality["held_out"] == cross_validate(m, method=method)
    assert np.abs(np.maximum(warm.image, 0) - result.image).max() < 1e-6  # of the whole measurement


def test_flat_data_support_nothing():
    m = signed_measurement(np.full((32, 32), 0.5), FEW)
    assert not cross_validate(m, method="tv")["supported"]
