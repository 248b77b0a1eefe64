from __future__ import annotations

import h5py
import numpy as np
import pytest

from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.masks.pattern_set import PatternSet, pattern
from cxgi_bluesky.measurement.speckle import SpeckleMeasurement
from cxgi_bluesky.reconstruction.api import reconstruct
from cxgi_bluesky.reconstruction.methods import speckle
from cxgi_bluesky.reconstruction.methods.linear import fill_corner
from cxgi_bluesky.reconstruction.methods.speckle import speckle_correlation
from tests.conftest import signed_measurement, smooth_image

RNG = np.random.default_rng(0)
SPECKLE = RNG.gamma(4.0, size=(120, 9, 7))
OBJECT = np.zeros((9, 7))
OBJECT[2:6, 3:5] = 1
BUCKET = SPECKLE.reshape(120, -1) @ OBJECT.ravel()


def correlate(patterns, index, bucket, **options):
    return speckle_correlation(SpeckleMeasurement(patterns, index, bucket), **options)


def by_hand(form, bucket, patterns):
    light = patterns.sum(axis=(1, 2))
    b, i, r = bucket[:, None, None], patterns, light[:, None, None]
    if form == "GI":
        return (b * i).mean(0) - b.mean(0) * i.mean(0)
    if form == "DGI":
        return (b * i).mean(0) - b.mean(0) / r.mean(0) * (r * i).mean(0)
    return (b / r * i).mean(0) - (b / r).mean(0) * i.mean(0)


@pytest.mark.parametrize("form", ["GI", "DGI", "NGI"])
def test_the_forms_by_hand_in_one_chunk_and_in_many(form, monkeypatch):
    whole = correlate(SPECKLE, np.arange(120), BUCKET, form=form)
    np.testing.assert_allclose(whole, by_hand(form, BUCKET, SPECKLE), rtol=1e-9, atol=1e-12)
    monkeypatch.setattr(speckle, "CHUNK_BYTES", 8 * 63 * 7)
    np.testing.assert_allclose(correlate(SPECKLE, np.arange(120), BUCKET, form=form), whole, rtol=1e-9)


def test_the_differential_forms_see_through_a_fluctuating_source():
    beam = 0.5 + np.random.default_rng(1).random(120)
    patterns, bucket = SPECKLE * beam[:, None, None], BUCKET * beam
    contrast = {}
    for form in ("GI", "DGI", "NGI"):
        image = correlate(patterns, np.arange(120), bucket, form=form)
        contrast[form] = np.corrcoef(image.ravel(), OBJECT.ravel())[0, 1]
    assert contrast["DGI"] > contrast["GI"] + 0.05
    assert contrast["NGI"] > contrast["GI"] + 0.05


def test_the_order_of_measurement_changes_no_bit():
    order = np.random.default_rng(2).permutation(120)
    np.testing.assert_array_equal(correlate(SPECKLE, order, BUCKET[order]), correlate(SPECKLE, np.arange(120), BUCKET))


def test_patterns_may_stay_on_disk(tmp_path):
    with h5py.File(tmp_path / "patterns.h5", "w") as file:
        file["speckle"] = SPECKLE
    with h5py.File(tmp_path / "patterns.h5") as file:
        from_disk = correlate(file["speckle"], [5, 3, 80], BUCKET[[5, 3, 80]])
    np.testing.assert_array_equal(from_disk, correlate(SPECKLE, [5, 3, 80], BUCKET[[5, 3, 80]]))


def test_hadamard_patterns_as_a_stack_give_the_fast_transforms_picture():
    m = signed_measurement(smooth_image(8), PatternSet(8, 40), sigma=0.1)
    light = np.array([(1 + pattern(8, k)) / 2 for k in range(64)])
    others = m.pattern_index != 0
    image = correlate(light, m.pattern_index[others], m.coefficient[others])
    np.testing.assert_allclose(fill_corner(image), reconstruct(m, method="correlation").image, atol=1e-12)


def test_dgi_is_gi_and_ngi_is_gi_over_the_light_for_hadamard_masks():
    m = signed_measurement(smooth_image(8), PatternSet(8, 40))
    gi, dgi, ngi = (reconstruct(m, method="correlation", form=form).image for form in ("GI", "DGI", "NGI"))
    light = np.array([(1 + pattern(8, k)) / 2 for k in m.pattern_index if k])
    bucket = m.coefficient[m.pattern_index != 0]
    np.testing.assert_array_equal(dgi, gi)
    np.testing.assert_allclose(dgi, fill_corner(by_hand("DGI", bucket, light)), atol=1e-12)
    np.testing.assert_allclose(ngi, fill_corner(by_hand("NGI", bucket, light)), atol=1e-12)


def test_weights_from_sigma_let_a_bad_exposure_count_less():
    image = smooth_image(16)
    m = signed_measurement(image, PatternSet(16, 200), sigma=0.01)
    sigma, coefficient = m.sigma.copy(), m.coefficient.copy()
    sigma[50], coefficient[50] = 50.0, coefficient[50] + 50
    noisy = type(m)(16, m.pattern_index, coefficient, sigma)
    clean = reconstruct(m, method="correlation").image
    miss = [
        np.linalg.norm(reconstruct(noisy, method="correlation", weighting=w).image - clean) for w in ("equal", "sigma")
    ]
    assert miss[1] < 0.2 * miss[0]


@pytest.mark.parametrize(
    ("patterns", "form", "text"),
    [
        (SPECKLE, "XGI", "form 'XGI' is unknown: choose one of GI, DGI, NGI"),
        (0 * SPECKLE, "DGI", "pattern 1 has no light"),
        (np.nan * SPECKLE, "GI", "pattern 1 has pixels that are no numbers"),
    ],
)
def test_impossible_input_is_named(patterns, form, text):
    with pytest.raises(CxgiError, match=text):
        correlate(patterns, [1, 2], [1.0, 2.0], form=form)
