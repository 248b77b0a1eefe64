"""The error size of a measurement is found once and handed on, without changing a bit."""

from __future__ import annotations

import numpy as np
import pytest

from cxgi_bluesky.masks.pattern_set import PatternSet
from cxgi_bluesky.masks.transform import walsh_hadamard_2d
from cxgi_bluesky.measurement.measurement import Measurement
from cxgi_bluesky.reconstruction.api import reconstruct
from cxgi_bluesky.reconstruction.cross_validation import held_out_score, reconstruct_and_check
from cxgi_bluesky.reconstruction.error_model import noise as model_error
from cxgi_bluesky.reconstruction.error_model.noise import ErrorSizes, error_size
from cxgi_bluesky.reconstruction.solvers.primal_dual import WarmStart
from cxgi_bluesky.reconstruction.uncertainty import uncertainty
from cxgi_bluesky.simulation.objects.registry import render_object
from cxgi_bluesky.simulation.objects.rendering import block_mean

KINDS = {"tv": "error", "inverse": "noise", "correlation": "noise", "ch-mwcnn": None}


@pytest.fixture(scope="module")
def measurement():
    """Binary, with an uncertain open bucket and errors that its sigma does not tell."""
    truth = block_mean(render_object("CAS", 32, 4), 4).astype(float)
    patterns, rng = PatternSet.from_fraction(32, 0.3), np.random.default_rng(0)
    signed = walsh_hadamard_2d(truth).ravel()[patterns.pattern_index]
    bucket = (signed + truth.sum()) / 2 + 4 * rng.normal(size=len(signed))
    sigma, opened = np.ones(len(bucket)), (truth.sum() + 1.0, 1.0)
    index = patterns.pattern_index
    return Measurement.from_buckets(32, index, bucket, coding="binary", sigma=sigma, open_bucket=opened)


@pytest.fixture
def judged(monkeypatch):
    """The measurements whose error size was asked for, as they come."""
    asked = []

    def noted(measurement, **options):
        asked.append(len(measurement))
        return error_size(measurement, **options)

    monkeypatch.setattr(model_error, "error_size", noted)
    return asked


@pytest.mark.parametrize("method", KINDS)
def test_handing_it_on_changes_no_bit(measurement, method):
    checked = reconstruct_and_check(measurement, method=method, details=True)
    alone = reconstruct(measurement, method=method)
    np.testing.assert_array_equal(checked.image, alone.image)
    assert checked.parameters == alone.parameters
    assert checked.quality["held_out"] == held_out_score(measurement, method=method, picture=alone.image)
    if KINDS[method] is not None:
        expected = uncertainty(measurement, method=method, kind=KINDS[method])
        np.testing.assert_array_equal(checked.uncertainty, expected)


@pytest.mark.parametrize(("method", "draws"), [("tv", 2), ("ch-mwcnn", 2)])
def test_the_whole_measurement_is_judged_once(measurement, method, draws, judged):
    reconstruct_and_check(measurement, method=method, details=True)
    assert judged.count(len(measurement)) == 1
    assert len(judged) <= 1 + draws  # the pictures of the held-out score are made from other data


def test_a_picture_that_starts_from_the_trial_leaves_it_as_it_was(measurement):
    sizes, expected = ErrorSizes(), error_size(measurement)[1]
    first = sizes.of(measurement)[1]
    first += 1  # as a solver does that goes on from there
    np.testing.assert_array_equal(sizes.of(measurement)[1], expected)


def test_other_numbers_are_judged_anew(measurement, judged):
    sizes = ErrorSizes()
    for part in (measurement, measurement.first(200), measurement):
        assert sizes.of(part)[0] == error_size(part)[0]
    assert sizes.of(measurement, nonnegative=False)[0] == error_size(measurement, nonnegative=False)[0]
    assert judged == [len(measurement), 200, len(measurement)]


def test_a_warm_series_is_the_same(measurement):
    warm, alone = WarmStart(), WarmStart()
    for count in (150, 300):
        part = measurement.first(count)
        checked = reconstruct_and_check(part, method="tv", warm=warm)
        np.testing.assert_array_equal(checked.image, reconstruct(part, method="tv", warm=alone).image)
