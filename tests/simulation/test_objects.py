from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.simulation.materials import Layer
from cxgi_bluesky.simulation.objects.paper import gold_semi_cylinder
from cxgi_bluesky.simulation.objects.registry import OBJECTS, check_object, render_object
from cxgi_bluesky.simulation.objects.rendering import block_mean, resample
from cxgi_bluesky.simulation.spectrum import one_energy


@pytest.mark.parametrize("name", OBJECTS)
@pytest.mark.parametrize("size", [32, 64])
def test_four_sub_pixels_are_eight_averaged(name, size):
    four, eight = render_object(name, size, 4), render_object(name, size, 8)
    assert four.shape == (4 * size, 4 * size)
    assert four.dtype == np.float32
    np.testing.assert_allclose(four, block_mean(eight, 2), atol=1e-5)
    assert four.min() >= 0
    assert four.max() <= 1
    assert np.ptp(four) > 0.9


@pytest.mark.parametrize("diameter", [10.0, 20.0, 26.0])
def test_gears_have_their_numbers(diameter):
    gear, aperture = (render_object(n, 32, 8, diameter_px=diameter) for n in ("gear", "gear-aperture"))
    np.testing.assert_allclose(gear + aperture, 1, atol=1e-6)
    y, x = (np.mgrid[: len(gear), : len(gear)] + 0.5) / 8 - 16
    distance, angle = np.hypot(x, y) / (diameter / 2), np.arctan2(y, x)
    assert gear[distance < 0.2].min() == 1  # bore
    assert gear[distance > 1.05].min() == 1
    assert gear[(distance > 0.32) & (distance < 0.75)].max() == 0
    ring = aperture[(distance > 0.86) & (distance < 0.96)]
    assert ring.mean() == pytest.approx(0.5, abs=0.03)  # duty
    spokes = np.exp(14j * angle[(distance > 0.86) & (distance < 0.96)])
    assert abs((ring * spokes).mean()) > 0.25  # 14 teeth
    area = np.pi * (diameter / 2) ** 2 * (0.82**2 - 0.25**2 + 0.5 * (1 - 0.82**2))
    assert aperture.sum() / 64 == pytest.approx(area, rel=0.005)


def test_the_papers_gear_is_ten_pixels_across():
    columns = np.flatnonzero(render_object("gear", 32, 8).min(axis=0) < 0.5)
    assert (np.ptp(columns) + 1) / 8 * 150 == pytest.approx(1500, abs=20)


@pytest.mark.parametrize("gap_um", [0.0, 5.0, 10.0, 40.0])
def test_the_gap_of_the_gold_object(gap_um):
    gold = gold_semi_cylinder(64, 8, gap_um=gap_um, tilt_deg=0.0)
    line = gold[256]
    middle = (slice(160, 320),)
    open_um = line[middle][line[middle] > 1e-6].sum() * 640 / 512
    assert open_um == pytest.approx(gap_um, abs=0.05)


def test_attenuation_length_sets_what_gold_lets_through():
    thin = gold_semi_cylinder(32, 4, attenuation_length_um=100.0)
    assert thin.min() == pytest.approx(np.exp(-440 / 100), rel=0.02)
    assert np.isclose(thin, np.exp(-300 / 100), rtol=1e-4).sum() > 1000


def test_bars_have_their_period():
    bars = render_object("bars", 64, 8, line_pairs_um=(80.0, 40.0))
    row = bars[128] < 0.5
    edges = np.flatnonzero(np.diff(row.astype(int))) * 640 / 512
    np.testing.assert_allclose(np.diff(edges)[:5], 40, atol=1.3)
    np.testing.assert_allclose(np.diff(edges)[6:], 20, atol=1.3)
    lying = bars[256:, :][:, row[: bars.shape[1]]]
    assert lying.min() < 0.5


@settings(max_examples=30, deadline=None)
@given(pixels=st.integers(1, 40), cells=st.integers(1, 40), seed=st.integers(0, 99))
def test_resampling_keeps_the_mean_and_whole_ratios_are_exact(pixels, cells, seed):
    image = np.random.default_rng(seed).random((pixels, pixels))
    assert resample(image, cells).mean() == pytest.approx(image.mean(), rel=1e-5)
    np.testing.assert_allclose(resample(image, 3 * pixels), image.repeat(3, 0).repeat(3, 1), rtol=1e-5)


def test_an_image_of_the_user(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    image = np.zeros((100, 100), dtype=np.uint8)
    image[20:60, 30:] = 255
    Image.fromarray(image).save("own.png")
    np.save("own.npy", image / 255)
    np.save("thickness.npy", image / 255 * 8.8)
    drawn = render_object("own.png", 32, 4)
    np.testing.assert_allclose(drawn, render_object("own.npy", 32, 4), atol=1e-6)
    assert drawn.mean() == pytest.approx(0.4 * 0.7, rel=1e-5)
    np.testing.assert_allclose(drawn, block_mean(render_object("own.png", 32, 8), 2), atol=1e-6)
    thick = render_object("thickness.npy", 32, 4, attenuation_length_um=4.4)
    assert thick[48, 100] == pytest.approx(np.exp(-2))
    gold = render_object("thickness.npy", 32, 4, material="Au", spectrum=one_energy(17.5))
    assert gold[48, 100] == pytest.approx(Layer("Au", 8.8).transmission(np.array([17.5]))[0], rel=1e-4)
    assert gold[0, 0] == pytest.approx(1)
    for words in ({"material": "Au"}, {"spectrum": one_energy(17.5)}):
        with pytest.raises(CxgiError, match="give both"):
            render_object("thickness.npy", 32, 4, **words)
    with pytest.raises(CxgiError, match="not both"):
        render_object("thickness.npy", 32, 4, material="Au", spectrum=one_energy(17.5), attenuation_length_um=4.4)
    check_object("own.png")


@pytest.mark.parametrize(
    ("name", "parameters", "message"),
    [
        ("cat", {}, r"'cat' is unknown: choose one of CAS, gold, gear, gear-aperture, bars"),
        ("gear:size=3", {}, "no parameter 'size': it has diameter_px, teeth"),
        ("gear:diameter_px=big", {}, "NAME=NUMBER"),
        ("gear", {"diameter_px": 40}, "diameter_px 40"),
        ("gear", {"teeth": 2.5}, "teeth 2.5"),
        ("gold", {"gap_um": -1}, "gap_um -1"),
        ("gold", {"attenuation_length_um": 0}, "attenuation_length_um 0"),
        ("bars", {"line_pairs_um": (400.0,)}, "none wider than half"),
        ("missing.npy", {}, "cannot be read"),
        ("oblong.npy", {}, "the field is square"),
        ("bright.npy", {}, "a transmission lies within 0..1"),
        ("negative.npy", {"attenuation_length_um": 4.4}, "none may be below 0"),
        ("nan.npy", {}, "NaN"),
    ],
)
def test_impossible_objects(tmp_path, monkeypatch, name, parameters, message):
    monkeypatch.chdir(tmp_path)
    np.save("oblong.npy", np.ones((8, 9)))
    np.save("bright.npy", np.full((8, 8), 2.0))
    np.save("negative.npy", np.full((8, 8), -2.0))
    np.save("nan.npy", np.full((8, 8), np.nan))
    with pytest.raises(CxgiError, match=message):
        render_object(name, 32, 4, **parameters)


def test_parameters_in_the_name():
    np.testing.assert_array_equal(
        render_object("gear:diameter_px=20,teeth=8", 32), render_object("gear", 32, diameter_px=20.0, teeth=8)
    )
    np.testing.assert_array_equal(
        render_object("bars:line_pairs_um=80/40", 32), render_object("bars", 32, line_pairs_um=(80.0, 40.0))
    )
