from __future__ import annotations

import numpy as np

from cxgi_bluesky.measurement.normalization import Buckets, Drift, calibrate, smooth_sigma

NO_DRIFT = Drift(np.empty(0), np.empty(0))


def columns(bucket, sigma, time=None):
    n = len(bucket)
    time = np.arange(n) if time is None else time
    return Buckets(np.arange(n), np.asarray(bucket, float), np.full(n, float(sigma)), np.asarray(time, float))


def test_drift_that_is_seen_is_corrected():
    relative = 1 + 0.1 * np.linspace(-1, 1, 20)
    drift = Drift.from_open(columns(5 * relative, 0.001))
    np.testing.assert_allclose(drift(np.arange(20.0)), relative, atol=1e-3)


def test_noise_is_not_taken_for_drift():
    rng = np.random.default_rng(0)
    corrections = [Drift.from_open(columns(5 + 0.05 * rng.normal(size=20), 0.05)).rms for _ in range(200)]
    assert np.mean(corrections) < 0.4 * 0.01


def test_no_correction_from_a_handful_of_open_exposures():
    assert Drift.from_open(columns([5.0, 6.0, 7.0], 0.001)).rms == 0
    np.testing.assert_array_equal(Drift.from_open(columns([], 1))(np.arange(3.0)), 1)


def test_sigma_of_a_few_readings_is_smoothed_by_the_noise_law():
    rng = np.random.default_rng(0)
    bucket = rng.uniform(2, 6, size=500)
    law = np.sqrt(4e-4 * bucket + 1e-4)
    seen = law * np.sqrt(rng.chisquare(9, size=500) / 9)
    np.testing.assert_allclose(smooth_sigma(bucket, seen), law, rtol=0.1)
    assert np.abs(seen / law - 1).max() > 0.4


def test_an_unphysical_noise_law_falls_back_to_the_mean():
    bucket, sigma = np.linspace(1, 2, 20), np.linspace(0.2, 0.1, 20)
    np.testing.assert_allclose(smooth_sigma(bucket, sigma), np.sqrt(np.mean(sigma**2)))


def test_drift_is_seen_without_sigma_too():
    rng = np.random.default_rng(0)
    relative = 1 + 0.1 * np.linspace(-1, 1, 30)
    drift = Drift.from_open(columns(5 * relative + 0.01 * rng.normal(size=30), np.nan))
    np.testing.assert_allclose(drift(np.arange(30.0)), relative, atol=0.01)


def test_b_0_gets_surer_with_every_open_exposure():
    rows = Buckets(np.array([0, 1]), np.array([5.0, 3.0]), np.array([0.1, 0.1]), np.arange(2.0))
    none, many = (calibrate(rows, columns([5.0] * n, 0.1), NO_DRIFT).open_bucket for n in (0, 24))
    assert none == (5.0, 0.1)
    np.testing.assert_allclose(many, (5.0, 0.1 / 5))


def test_nothing_open_gives_no_b_0():
    rows = Buckets(np.array([1]), np.array([3.0]), np.array([0.1]), np.arange(1.0))
    assert calibrate(rows, columns([], 1), NO_DRIFT).open_bucket is None
