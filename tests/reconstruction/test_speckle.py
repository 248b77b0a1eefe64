from __future__ import annotations

import h5py
import numpy as np
import pytest

from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.masks.pattern_set import PatternSet, pattern
from cxgi_bluesky.reconstruction.api import reconstruct
from cxgi_bluesky.reconstruction.methods import speckle
from cxgi_bluesky.reconstruction.methods.linear import EventByEventCorrelation, fill_corner
from cxgi_bluesky.reconstruction.methods.speckle import SpeckleCorrelation, speckle_correlation
from tests.conftest import signed_measurement, smooth_image

RNG = np.random.default_rng(0)
SPECKLE = RNG.gamma(4.0, size=(120, 9, 7))
OBJECT = np.zeros((9, 7))
OBJECT[2:6, 3:5] = 1
BUCKET = SPECKLE.reshape(120, -1) @ OBJECT.ravel()


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
    whole = speckle_correlation(SPECKLE, np.arange(120), BUCKET, form=form)
    np.testing.assert_allclose(whole, by_hand(form, BUCKET, SPECKLE), rtol=1e-9, atol=1e-12)
    monkeypatch.setattr(speckle, "CHUNK_BYTES", 8 * 63 * 7)
    np.testing.assert_allclose(speckle_correlation(SPECKLE, np.arange(120), BUCKET, form=form), whole, rtol=1e-9)


def test_the_differential_forms_see_through_a_fluctuating_source():
    beam = 0.5 + np.random.default_rng(1).random(120)
    patterns, bucket = SPECKLE * beam[:, None, None], BUCKET * beam
    contrast = {}
    for form in ("GI", "DGI", "NGI"):
        image = speckle_correlation(patterns, np.arange(120), bucket, form=form)
        contrast[form] = np.corrcoef(image.ravel(), OBJECT.ravel())[0, 1]
    assert contrast["DGI"] > contrast["GI"] + 0.05
    assert contrast["NGI"] > contrast["GI"] + 0.05


def test_a_repeated_index_replaces_in_any_order_of_events():
    live = SpeckleCorrelation(SPECKLE)
    for k in np.random.default_rng(2).permutation(120):
        live.update(int(k), 99.0)
        live.update(int(k), BUCKET[k])
    np.testing.assert_array_equal(live.image(), speckle_correlation(SPECKLE, np.arange(120), BUCKET))
    assert len(live) == 120


def test_patterns_may_stay_on_disk(tmp_path):
    with h5py.File(tmp_path / "patterns.h5", "w") as file:
        file["speckle"] = SPECKLE
    with h5py.File(tmp_path / "patterns.h5") as file:
        from_disk = speckle_correlation(file["speckle"], [5, 3, 80], BUCKET[[5, 3, 80]])
    np.testing.assert_array_equal(from_disk, speckle_correlation(SPECKLE, [5, 3, 80], BUCKET[[5, 3, 80]]))


def test_hadamard_patterns_as_a_stack_give_the_fast_transforms_picture():
    m = signed_measurement(smooth_image(8), PatternSet(8, 40), sigma=0.1)
    light = np.array([(1 + pattern(8, k)) / 2 for k in range(64)])
    others = m.pattern_index != 0
    image = speckle_correlation(light, m.pattern_index[others], m.coefficient[others])
    np.testing.assert_allclose(fill_corner(image), reconstruct(m, method="correlation").image, atol=1e-12)


def test_dgi_is_gi_and_ngi_is_gi_over_the_light_for_hadamard_masks():
    m = signed_measurement(smooth_image(8), PatternSet(8, 40))
    gi, dgi, ngi = (reconstruct(m, method="correlation", form=form).image for form in ("GI", "DGI", "NGI"))
    light = np.array([(1 + pattern(8, k)) / 2 for k in m.pattern_index if k])
    bucket = m.coefficient[m.pattern_index != 0]
    np.testing.assert_array_equal(dgi, gi)
    np.testing.assert_allclose(dgi, fill_corner(by_hand("DGI", bucket, light)), atol=1e-12)
    np.testing.assert_allclose(ngi, fill_corner(by_hand("NGI", bucket, light)), atol=1e-12)


def test_event_by_event_equals_the_closed_form_to_the_last_bit():
    m = signed_measurement(smooth_image(16), PatternSet(16, 100), sigma=0.2)
    for form in ("GI", "DGI", "NGI"):
        live = EventByEventCorrelation(16, form=form)
        for k, s in zip(m.pattern_index[::-1].tolist(), m.coefficient[::-1].tolist(), strict=True):
            live.update(k, -1.0)
            live.update(k, s)
        np.testing.assert_array_equal(live.image(), reconstruct(m, method="correlation", form=form).image)


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
    ("act", "text"),
    [
        (lambda: SpeckleCorrelation(np.ones((4, 4))), r"patterns of shape \(4, 4\)"),
        (lambda: SpeckleCorrelation(SPECKLE, form="XGI"), "form 'XGI' is unknown: choose one of GI, DGI, NGI"),
        (lambda: SpeckleCorrelation(SPECKLE).update(120, 1.0), r"pattern_index 120 is outside 0\.\.119"),
        (lambda: SpeckleCorrelation(SPECKLE).update(3, np.nan), "pattern_index 3 is nan"),
        (lambda: speckle_correlation(SPECKLE, [1, 2], [1.0]), "1 buckets for 2 pattern indices"),
        (lambda: speckle_correlation(0 * SPECKLE, [1, 2], [1.0, 2.0], form="DGI"), "has no light"),
        (lambda: EventByEventCorrelation(8).update(64, 1.0), r"64 is outside 0\.\.63"),
    ],
)
def test_impossible_input_is_named(act, text):
    with pytest.raises(CxgiError, match=text):
        act()


def test_before_the_second_exposure_there_is_nothing():
    live = SpeckleCorrelation(SPECKLE)
    live.update(3, 1.0)
    assert not live.image().any()
