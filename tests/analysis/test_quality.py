from __future__ import annotations

import numpy as np
import pytest

from cxgi_bluesky.analysis.metrics import affine_fit, cnr, compare, image_levels, modulation_depth, psnr, ssim
from cxgi_bluesky.errors import CxgiError
from tests.conftest import smooth_image

TRUTH = (smooth_image(32) > 0.4).astype(float)


def test_cnr_is_equation_1():
    rng = np.random.default_rng(0)
    image = TRUTH * 2 + rng.normal(size=TRUTH.shape)
    bright, dark = image[TRUTH == 1], image[TRUTH == 0]
    expected = (bright.mean() - dark.mean()) / np.sqrt(
        (bright**2).mean() - bright.mean() ** 2 + (dark**2).mean() - dark.mean() ** 2
    )
    assert cnr(image, TRUTH) == pytest.approx(expected)
    assert cnr(3 * image - 5, TRUTH) == pytest.approx(expected)
    assert cnr(-image, TRUTH) == pytest.approx(-expected)


def test_cnr_of_limiting_cases():
    assert cnr(TRUTH, TRUTH) == np.inf
    assert np.isnan(cnr(TRUTH, np.ones_like(TRUTH)))
    assert np.isnan(cnr(np.zeros_like(TRUTH), TRUTH))


def test_affine_fit_undoes_scale_and_offset():
    image = smooth_image(16)
    np.testing.assert_allclose(affine_fit(7 - 3 * image, image), image, atol=1e-12)
    np.testing.assert_allclose(affine_fit(np.ones((16, 16)), image), image.mean())


def test_psnr_and_ssim():
    image = smooth_image(32)
    noisy = image + 0.1 * np.ptp(image) * np.sign(np.random.default_rng(0).normal(size=image.shape))
    assert psnr(noisy, image) == pytest.approx(20.0)
    assert psnr(image, image) == np.inf
    assert ssim(image, image) == pytest.approx(1.0)
    assert ssim(noisy, image) < 0.8


def test_compare_does_not_care_about_scale():
    image = smooth_image(32) + 0.05 * np.random.default_rng(0).normal(size=(32, 32))
    one, two = compare(image, TRUTH), compare(40 * image - 3, TRUTH)
    assert one == pytest.approx(two)


def test_shapes_must_agree():
    with pytest.raises(CxgiError, match="differ in shape"):
        cnr(np.zeros((4, 4)), np.zeros((8, 8)))


def test_modulation_depth():
    assert modulation_depth(10.0, 1.7) == pytest.approx(0.83)
    with pytest.raises(CxgiError, match="D_max 0"):
        modulation_depth(0, 0)


def test_levels_of_a_picture():
    image = np.where(TRUTH > 0, 2.0, 0.5) + 0.1 * np.random.default_rng(0).normal(size=TRUTH.shape)
    levels = image_levels(image)
    assert (levels.dark, levels.bright) == pytest.approx((0.5, 2.0), abs=0.02)
    assert levels.modulation_depth == pytest.approx(0.75, abs=0.01)
    assert levels.cnr_otsu == pytest.approx(cnr(image, TRUTH), rel=1e-6)  # no pixel is on the wrong side
    assert np.isnan(image_levels(image - 5).modulation_depth)
    assert image_levels(TRUTH).cnr_otsu == np.inf


def test_the_cnr_of_otsu_flatters():
    noise = np.random.default_rng(0).normal(size=TRUTH.shape)
    assert image_levels(noise).cnr_otsu == pytest.approx(1.9, abs=0.1)
    assert abs(cnr(noise, TRUTH)) < 0.2


def test_a_flat_picture_has_no_levels():
    with pytest.raises(CxgiError, match="flat"):
        image_levels(np.ones((8, 8)))
