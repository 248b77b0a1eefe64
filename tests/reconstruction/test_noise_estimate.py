"""The noise of a measurement is estimated once and carried with it, without changing a bit."""

from __future__ import annotations

import numpy as np
import pytest

from cxgi_bluesky.masks.pattern_set import PatternSet
from cxgi_bluesky.masks.transform import walsh_hadamard_2d
from cxgi_bluesky.measurement.measurement import Measurement
from cxgi_bluesky.reconstruction.api import estimate_uncertainty, reconstruct
from cxgi_bluesky.reconstruction.cross_validation import cross_validate, reconstruct_and_check
from cxgi_bluesky.reconstruction.error_model import noise
from cxgi_bluesky.reconstruction.error_model.noise import PreparedMeasurement, estimate_noise
from cxgi_bluesky.reconstruction.methods.tv import tv
from cxgi_bluesky.reconstruction.solvers.primal_dual import WarmStart
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
def estimated(monkeypatch):
    """Patterns of each measurement whose noise was estimated, in that order."""
    counts = []

    def count(measurement, **options):
        counts.append(len(measurement))
        return estimate_noise(measurement, **options)

    monkeypatch.setattr(noise, "estimate_noise", count)
    return counts


@pytest.mark.parametrize("method", KINDS)
def test_carrying_it_changes_no_bit(measurement, method):
    checked = reconstruct_and_check(measurement, method=method, details=True)
    alone = reconstruct(measurement, method=method)
    np.testing.assert_array_equal(checked.image, alone.image)
    assert checked.parameters == alone.parameters
    assert checked.quality["held_out"] == cross_validate(measurement, method=method, image=alone.image)
    if KINDS[method] is not None:
        expected = estimate_uncertainty(measurement, method=method, kind=KINDS[method])
        np.testing.assert_array_equal(checked.uncertainty, expected)


@pytest.mark.parametrize(("method", "draws"), [("tv", 2), ("ch-mwcnn", 2)])
def test_the_noise_of_the_whole_measurement_is_estimated_once(measurement, method, draws, estimated):
    reconstruct_and_check(measurement, method=method, details=True)
    assert estimated.count(len(measurement)) == 1
    assert len(estimated) <= 1 + draws  # the images of the cross-validation are made from other data


@pytest.mark.parametrize("method", ["inverse", "correlation", "tval3"])
def test_what_needs_no_noise_estimates_none(measurement, method, estimated):
    reconstruct(PreparedMeasurement.from_measurement(measurement), method=method)
    assert estimated == []


def test_an_image_that_starts_from_the_initial_one_leaves_it_as_it_was(measurement):
    prepared, _ = PreparedMeasurement.from_measurement(measurement).without_common_error()
    tv(prepared, warm=WarmStart())
    np.testing.assert_array_equal(prepared.noise.initial_image, estimate_noise(prepared).initial_image)


def test_other_numbers_have_an_estimate_of_their_own(measurement, estimated):
    prepared = PreparedMeasurement.from_measurement(measurement)
    for part in (prepared, prepared.first(200), prepared):
        assert part.noise.sigma == estimate_noise(part).sigma
    assert PreparedMeasurement.from_measurement(prepared) is prepared
    assert estimated == [len(measurement), 200]


def test_a_warm_series_is_the_same(measurement):
    warm, alone = WarmStart(), WarmStart()
    for count in (150, 300):
        part = measurement.first(count)
        checked = reconstruct_and_check(part, method="tv", warm=warm)
        np.testing.assert_array_equal(checked.image, reconstruct(part, method="tv", warm=alone).image)
