from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from cxgi_bluesky.analysis.resolution.mtf import compare_sharpness, measure_sharpness
from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.masks.board import load_board
from cxgi_bluesky.masks.pattern_set import PatternSet
from cxgi_bluesky.reconstruction.api import reconstruct
from cxgi_bluesky.simulation import camera
from cxgi_bluesky.simulation.beamline import BeamlineSimulation, simulation_parameters
from cxgi_bluesky.simulation.camera import Camera, direct_image, predict_edge_um
from cxgi_bluesky.simulation.optics import Geometry
from cxgi_bluesky.simulation.scans import scan_simulation
from cxgi_bluesky.simulation.source import Source
from tests.analysis.resolution.synthetic import across
from tests.conftest import QUIET, small_board

AU64 = load_board("au64")
GEOMETRY = Geometry()
PIXEL_UM = GEOMETRY.object_pixel_um(AU64.pixel_um)
TILT_DEG = 8.0
BOXES = {"ghost_box": (20, 44, 20, 44), "direct_box": (60, 140, 60, 140)}


def tilted_edge(subpixels: int, angle_deg: float = TILT_DEG, size: int = 64) -> np.ndarray:
    """A sharp edge through the field of the board, averaged over each sub-pixel."""
    return np.clip(across(size, angle_deg, 0.3, subpixels) * subpixels + 0.5, 0, 1).astype(np.float32)


def direct(source: Source, *, geometry: Geometry = GEOMETRY, angle_deg: float = TILT_DEG):
    cell_um = geometry.object_pixel_um(AU64.pixel_um) / 16
    edge = tilted_edge(16, angle_deg)
    return direct_image(edge, cell_um, source, geometry, Camera(), photons_per_pixel=1000, seed=2)


@pytest.mark.parametrize("spot_um", [10.0, 100.0])
def test_the_direct_image_is_as_sharp_as_the_source_and_the_ghost_image_as_the_mask(spot_um):
    source = Source(spot_um, spot_um)
    parameters = replace(simulation_parameters(AU64), source=source)
    simulation = BeamlineSimulation(AU64, tilted_edge(4), parameters, seed=1)
    ghost = reconstruct(scan_simulation(simulation, PatternSet(64, 768)), method="tv").image
    shown = direct(source)
    both = compare_sharpness(ghost, shown.image, ghost_pixel_um=PIXEL_UM, direct_pixel_um=shown.pixel_um, **BOXES)
    expected = predict_edge_um(source, parameters.geometry, shown.pixel_um, angle_deg=TILT_DEG)
    assert both.direct.width_um == pytest.approx(expected, rel=0.1)
    assert both.direct.mtf50_per_mm == pytest.approx(0.48 / both.direct.width_um * 1000, rel=0.05)
    # 768 of 4096 patterns carry 1.5 mask pixels, whatever the source is
    assert both.ghost.width_um == pytest.approx(1.5 * PIXEL_UM, rel=0.1)
    assert both.ratio == pytest.approx(both.direct.width_um / both.ghost.width_um)
    assert "times as wide" in str(both)


@pytest.mark.parametrize("spot_um", [10.0, 100.0])
def test_all_patterns_show_an_edge_as_wide_as_the_mask_pixel(spot_um):
    """Without noise: what is left is the pixel of 10 um, and for the large spot a penumbra of 2 um."""
    board = small_board(16)
    simulation = BeamlineSimulation(
        board, tilted_edge(4, size=16), replace(QUIET, source=Source(spot_um, spot_um)), seed=0
    )
    image = reconstruct(scan_simulation(simulation, PatternSet(16, 256)), method="inverse").image
    width = measure_sharpness(image, PIXEL_UM, box=(2, 14, 2, 14))
    assert width.width_um == pytest.approx(0.8 * PIXEL_UM, rel=0.06)


def test_the_edge_follows_the_magnification():
    source = Source(37, 37)
    near, far = Geometry(450, 10, 46), Geometry(450, 10, 4600)
    blur = [g.direct_blur_um(37) for g in (near, far)]
    assert blur == pytest.approx([37 / 11, 37 * 10 / 11])
    shown = direct(source, geometry=far)
    found = measure_sharpness(shown.image, shown.pixel_um)
    assert found.width_um == pytest.approx(predict_edge_um(source, far, shown.pixel_um, angle_deg=8), rel=0.05)


def test_the_spot_is_not_round():
    """An upright edge sees the spot along x, a lying one along y."""
    source = Source(30, 60)
    widths = []
    for angle in (4.0, 86.0):
        shown = direct(source, angle_deg=angle)
        found = measure_sharpness(shown.image, shown.pixel_um, box=(40, 160, 40, 160))
        expected = predict_edge_um(source, Geometry(), shown.pixel_um, angle_deg=angle)
        assert found.width_um == pytest.approx(expected, rel=0.03)
        widths.append(found.width_um)
    assert widths[1] / widths[0] == pytest.approx(2, rel=0.05)


def test_a_direct_image_is_a_transmission_with_photon_noise():
    open_field = np.ones((256, 256), dtype=np.float32)
    words = {"photons_per_pixel": 400, "seed": 0}
    shown = direct_image(open_field, 2.5, Source(0, 0), Geometry(), Camera(read_noise_counts=0), **words)
    assert shown.pixel_um == pytest.approx(3.25)
    assert shown.image.shape == (196, 196)
    assert shown.image.mean() == pytest.approx(1, abs=2e-3)
    assert shown.image.std() == pytest.approx(1 / 20, rel=0.03)
    noisy = direct_image(open_field, 2.5, Source(0, 0), Geometry(), Camera(read_noise_counts=20), **words)
    assert noisy.image.std() == pytest.approx(np.hypot(20, 20) / 400, rel=0.03)


def test_a_camera_saturates_and_counts_whole_numbers():
    rng = np.random.default_rng(0)
    frame = Camera(saturation_counts=1000, counts_per_photon=2.5).frame(np.array([[0.0, 100.0], [300.0, 1e6]]), rng)
    assert frame[0, 0] == pytest.approx(100, abs=10)
    assert frame[0, 1] == pytest.approx(350, abs=150)
    assert frame[1, 1] == 1000
    np.testing.assert_array_equal(frame, np.rint(frame))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"pixel_um": 0}, "pixel_um 0"),
        ({"counts_per_photon": float("nan")}, "counts_per_photon nan"),
        ({"read_noise_counts": -1}, "0 or more"),
        ({"offset_counts": 70000}, "below saturation"),
    ],
)
def test_impossible_cameras(changes, message):
    with pytest.raises(CxgiError, match=message):
        Camera(**changes)


def test_impossible_pictures():
    words = {"photons_per_pixel": 100, "seed": 0}
    with pytest.raises(CxgiError, match="use smaller pixels"):
        direct_image(np.ones((8, 8)), 0.1, Source(), Geometry(), Camera(), **words)
    with pytest.raises(CxgiError, match="0 photons per pixel"):
        direct_image(np.ones((8, 8)), 10, Source(), Geometry(), Camera(), **{**words, "photons_per_pixel": 0})
    with pytest.raises(CxgiError, match="pixel_um 0"):
        measure_sharpness(np.ones((8, 8)), 0)


def test_the_twin_shows_its_own_object_directly():
    """Same object, same distances: the simulation's direct image is that of its map."""
    simulation = BeamlineSimulation(AU64, tilted_edge(4), simulation_parameters(AU64), seed=0)
    p = simulation.parameters
    words = {"photons_per_pixel": 100, "seed": 3}
    shown = simulation.direct_image(Camera(), **words)
    expected = direct_image(tilted_edge(4), PIXEL_UM / 4, p.source, p.geometry, Camera(), **words)
    np.testing.assert_array_equal(shown.image, expected.image)
    assert shown.pixel_um == expected.pixel_um == pytest.approx(3.25)


def test_the_old_name_of_predict_edge_um_warns():
    with pytest.warns(FutureWarning, match="predict_edge_um"):
        assert camera.expected_edge_um is predict_edge_um
