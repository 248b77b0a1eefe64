from __future__ import annotations

import numpy as np
import pytest

from cxgi_bluesky.analysis.metrics import cnr
from cxgi_bluesky.devices.simulated.sandpaper import simulated_speckle_beamline, speckle_board
from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.masks.speckle_board import SpeckleBoard
from cxgi_bluesky.measurement.exposures import Exposures
from cxgi_bluesky.measurement.measurement import Measurement
from cxgi_bluesky.measurement.speckle import SpeckleMeasurement
from cxgi_bluesky.reconstruction.api import reconstruct
from cxgi_bluesky.reconstruction.methods.speckle import cnr_curve, speckle_correlation
from cxgi_bluesky.simulation.beamline import SimulationParameters
from cxgi_bluesky.simulation.sandpaper import Sandpaper, SandpaperSimulation, SpeckleCamera, pixel_means
from cxgi_bluesky.simulation.scans import record_sandpaper, scan_sandpaper
from tests.conftest import QUIET

PERFECT = SpeckleCamera(psf_um=0, photon_noise=False, read_noise=0, counts_per_photon=2000)


def autocovariance(sheet: np.ndarray) -> np.ndarray:
    deviation = sheet - sheet.mean()
    return np.fft.irfft2(np.abs(np.fft.rfft2(deviation)) ** 2, s=sheet.shape) / sheet.size


def simulation(parameters=QUIET, *, size=16, count=300, seed=0, **options) -> SandpaperSimulation:
    return simulated_speckle_beamline(
        board=speckle_board(count, size=size), parameters=parameters, seed=seed, **options
    ).simulation


# ---------------------------------------------------------------- the sheet


@pytest.mark.parametrize(("grain_um", "contrast"), [(150.0, 0.2), (300.0, 0.6), (130.0, 0.05)])
def test_speckle_has_the_mean_the_contrast_and_the_grain_that_were_asked_for(grain_um, contrast):
    sheet = Sandpaper(grain_um, contrast, 0.7, seed=1).sheet((1200, 1200), 37.5)
    assert sheet.min() > 0
    grains = sheet.size * (37.5 / grain_um) ** 2
    assert sheet.mean() == pytest.approx(0.7, rel=4 * contrast / np.sqrt(grains))
    assert sheet.std() / sheet.mean() == pytest.approx(contrast, rel=0.02)
    covariance = autocovariance(sheet.astype(float))
    half = grain_um / 37.5 / 2
    for profile in (covariance[0], covariance[:, 0]):
        assert np.interp(half, np.arange(20), profile[:20] / profile[0]) == pytest.approx(0.5, abs=0.03)


def test_the_seed_makes_the_sheet():
    one, again, other = (Sandpaper(seed=s).sheet((80, 60), 37.5) for s in (1, 1, 2))
    np.testing.assert_array_equal(one, again)
    assert np.abs(one - other).max() > 0.1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"grain_um": 0.0}, "grain_um 0.0"),
        ({"contrast": -0.2}, "contrast -0.2"),
        ({"transmission": 1.2}, "transmission 1.2"),
    ],
)
def test_impossible_sandpaper(words, message):
    with pytest.raises(CxgiError, match=message):
        Sandpaper(**words)


def test_grains_need_sub_pixels():
    with pytest.raises(CxgiError, match="more sub-pixels"):
        Sandpaper(grain_um=100.0).sheet((10, 10), 37.5)


# ---------------------------------------------------------------- the simulation


def test_a_step_gives_fresh_speckle_and_the_same_place_the_same():
    t = simulation()
    views = []
    for k in (0, 1, 2, 0):
        t.move_to(*t.board.position_mm(k))
        views.append(t.speckle())
    np.testing.assert_array_equal(views[0], views[3])
    for other in views[1:3]:
        assert abs(np.corrcoef(views[0].ravel(), other.ravel())[0, 1]) < 0.25


def test_the_stage_moves_the_speckle_by_so_many_cells():
    t = simulation()
    t.move_to(2.7, 1.35)
    before = t.speckle(margin_cells=2)
    t.move_to(2.7 + 2 * t.cell_um / 1000, 1.35 - t.cell_um / 1000)
    np.testing.assert_allclose(t.speckle()[3:, :-2], before[4:-3, 4:-2], rtol=1e-5)
    t.move_to(2.7 + 0.5 * t.cell_um / 1000, 1.35)
    between = (before[2:-2, 2:-2] + before[2:-2, 3:-1]) / 2
    np.testing.assert_allclose(t.speckle(), between, rtol=1e-4)


def test_the_reference_is_beside_the_sheet():
    t = simulation()
    t.move_to(*t.board.position_mm(t.board.open_tile_number))
    assert (t.speckle() == 1).all()
    t.open_shutter()
    assert t.current_pa() == pytest.approx(QUIET.open_pa * t.truth.mean(), rel=1e-5)
    t.object_in = False
    assert t.current_pa() == pytest.approx(QUIET.open_pa, rel=1e-5)
    t.close_shutter()
    assert t.current_pa() == 0


def test_the_bucket_is_the_light_behind_speckle_and_object():
    t = simulation()
    t.move_to(*t.board.position_mm(7))
    t.open_shutter()
    assert t.current_pa() == pytest.approx(QUIET.open_pa * float((t.speckle() * t.object_map).mean()), rel=1e-5)


def test_ten_thousand_positions_need_little_memory():
    t = simulation(size=59, count=10000)
    t.move_to(*t.board.position_mm(9999))
    t.speckle()
    assert t._sheet.nbytes < 100e6


def test_impossible_geometry():
    for board, message in [
        (speckle_board(10, size=16, step_um=140.0), "neighbouring positions share"),
        (SpeckleBoard("p", (16, 16), 150.0, 1300.0, 10, 3, beside_mm=2.0), "still on the sheet"),
        (SpeckleBoard("p", (16, 12), 150.0, 1300.0, 10, 3), "objects of this beamline are square"),
    ]:
        with pytest.raises(CxgiError, match=message):
            simulated_speckle_beamline(board=board, parameters=QUIET)
    with pytest.raises(CxgiError, match="'cat' is unknown"):
        simulated_speckle_beamline(10, "cat")


# ---------------------------------------------------------------- the camera


def test_a_perfect_camera_sees_the_light_on_the_pixels():
    t, rng = simulation(), np.random.default_rng(0)
    t.open_shutter()
    t.object_in = False
    frame = PERFECT.frame(t, 1.0, rng)
    light = pixel_means(t.speckle(), t.parameters.subpixels) * t.photons_per_pixel_s * 2000 + 100
    np.testing.assert_allclose(frame, np.clip(light, 0, 65535), atol=0.6)


def test_photon_and_read_noise_have_their_size():
    t, rng = simulation(size=59), np.random.default_rng(0)
    camera = SpeckleCamera(psf_um=0, counts_per_photon=20, read_noise=40.0)
    dark = camera.frame(t, 1.0, rng).astype(float)
    assert (dark.mean(), dark.std()) == (pytest.approx(100, abs=3), pytest.approx(40, rel=0.06))
    t.open_shutter()
    t.object_in = False
    t.move_to(*t.board.position_mm(t.board.open_tile_number))
    flat = camera.frame(t, 3.0, rng).astype(float) - 100
    photons = 3 * t.photons_per_pixel_s
    assert flat.mean() / 20 == pytest.approx(photons, rel=0.01)
    assert flat.std() / 20 == pytest.approx(np.sqrt(photons + 4), rel=0.06)


def test_the_point_spread_blurs_and_keeps_the_light():
    t, rng = simulation(size=59), np.random.default_rng(0)
    t.open_shutter()
    t.object_in = False
    sharp, blurred = (
        SpeckleCamera(psf_um=w, photon_noise=False, read_noise=0, counts_per_photon=1000).frame(t, 1.0, rng) - 100.0
        for w in (0, 200)
    )
    assert blurred.mean() == pytest.approx(sharp.mean(), rel=0.01)
    assert blurred.std() < 0.8 * sharp.std()


def test_a_camera_sees_the_object_unless_it_is_out():
    t, rng = simulation(), np.random.default_rng(0)
    t.open_shutter()
    inside = PERFECT.frame(t, 1.0, rng)
    t.object_in = False
    outside = PERFECT.frame(t, 1.0, rng)
    dark = t.truth < 0.01
    assert (inside[dark] < 0.1 * outside[dark]).all()


# ---------------------------------------------------------------- recording, scan, image


@pytest.fixture(scope="module")
def quiet_scan(tmp_path_factory):
    t = simulation(count=1500)
    speckles = record_sandpaper(t, tmp_path_factory.mktemp("s") / "s.h5", camera=PERFECT, exposure_s=0.05)
    return t, speckles, scan_sandpaper(t, speckles)


def test_a_perfect_scan_makes_the_picture(quiet_scan):
    t, speckles, exposures = quiet_scan
    measurement = SpeckleMeasurement.from_exposures(exposures, speckles)
    assert len(measurement) == 1500
    bucket = QUIET.open_pa * np.tensordot(speckles[:20] / speckles[:].max(), t.truth, 2)
    assert np.corrcoef(bucket, measurement.bucket[:20])[0, 1] > 0.9
    result = reconstruct(measurement, method="correlation")
    assert cnr(result.image, t.truth) > 2.5
    assert (result.scale, result.exposures, result.unmeasured) == ("relative", 1500, None)
    for form in ("DGI", "NGI"):
        assert cnr(reconstruct(measurement, method="correlation", form=form).image, t.truth) > 2.5


def test_the_curve_is_that_of_separate_correlations(quiet_scan, monkeypatch):
    from cxgi_bluesky.reconstruction.methods import speckle

    t, speckles, exposures = quiet_scan
    measurement = SpeckleMeasurement.from_exposures(exposures, speckles)
    monkeypatch.setattr(speckle, "CHUNK_BYTES", 8 * 256 * 300)
    for form in ("GI", "DGI", "NGI"):
        curve = cnr_curve(measurement, t.truth, [1500, 2, 700, 301], form=form)
        assert [m for m, _ in curve] == [2, 301, 700, 1500]
        for m, value in curve:
            image = speckle_correlation(measurement.first(m), form=form)
            assert value == pytest.approx(cnr(image, t.truth), rel=1e-6)
    for counts in ([], [1], [1501]):
        with pytest.raises(CxgiError, match="of 1500 exposures"):
            cnr_curve(measurement, t.truth, counts)


def test_stage_error_between_the_two_passes_costs_contrast(tmp_path):
    values = {}
    for error_um in (0.0, 100.0):
        parameters = SimulationParameters(**{**vars(QUIET), "stage_rms_um": error_um})
        t = simulation(parameters, count=800)
        speckles = record_sandpaper(t, tmp_path / f"{error_um}.h5", camera=PERFECT, exposure_s=0.05)
        measurement = SpeckleMeasurement.from_exposures(scan_sandpaper(t, speckles), speckles)
        values[error_um] = cnr(reconstruct(measurement, method="correlation").image, t.truth)
    assert values[100.0] < 0.8 * values[0.0]


def test_noise_of_the_diode_costs_contrast_and_light_brings_it_back(quiet_scan):
    t, speckles, _ = quiet_scan
    values = []
    for seconds in (0.02, 100.0):
        noisy = simulation(SimulationParameters(open_pa=60.0, drift_rms=0.0, stage_rms_um=0.0), count=1500)
        exposures = scan_sandpaper(noisy, speckles.first(800), exposure_s=seconds)
        measurement = SpeckleMeasurement.from_exposures(exposures, speckles)
        values.append(cnr(reconstruct(measurement, method="correlation").image, t.truth))
    assert values[0] < 0.7 * values[1]


def test_a_drifting_source_is_corrected_by_the_open_exposures(quiet_scan):
    _, speckles, exposures = quiet_scan
    drifting = simulation(SimulationParameters(**{**vars(QUIET), "drift_rms": 0.05}), count=1500)
    spoilt = scan_sandpaper(drifting, speckles, open_every=8)
    raw = {k: e.bucket for k, e in spoilt.streams["primary"].items()}
    steady = np.array([exposures.streams["primary"][k].bucket for k in raw])
    corrected = SpeckleMeasurement.from_exposures(spoilt, speckles)
    before = np.std(np.array(list(raw.values())) / steady)
    assert np.std(corrected.bucket / steady[corrected.pattern_index]) < 0.3 * before


# ---------------------------------------------------------------- the measurement


def test_runs_and_patterns_that_do_not_belong_together(tmp_path, quiet_scan):
    _, speckles, exposures = quiet_scan
    other = record_sandpaper(simulation(seed=5), tmp_path / "o.h5", camera=PERFECT, exposure_s=0.05, count=5)
    with pytest.raises(CxgiError, match=r"made with patterns of sha256 .* give the recording of that run"):
        SpeckleMeasurement.from_exposures(exposures, other)
    with pytest.raises(CxgiError, match="no start document has been seen"):
        SpeckleMeasurement.from_exposures(Exposures(), other)
    with pytest.raises(CxgiError, match=r"measured with speckle patterns: SpeckleMeasurement"):
        Measurement.from_exposures(exposures)
    measurement = SpeckleMeasurement.from_exposures(exposures, speckles)
    with pytest.raises(CxgiError, match=r"'tv' is for Hadamard masks: .* 'correlation'"):
        reconstruct(measurement, method="tv")
    with pytest.raises(CxgiError, match="does not take these options"):
        reconstruct(measurement, method="correlation", weighting="sigma")


@pytest.mark.parametrize(
    ("index", "bucket", "message"),
    [
        ([0, 1], [1.0], "give one each"),
        ([0], [1.0], "at least 2"),
        ([0, 9], [1.0, 2.0], r"pattern_index 9 is outside 0..3"),
        ([0, 1, 0], [1.0, 2.0, 3.0], "pattern_index 0 is given 2 times"),
        ([0, 1], [1.0, np.nan], "bucket of pattern_index 1"),
    ],
)
def test_measurements_that_cannot_be(index, bucket, message):
    with pytest.raises(CxgiError, match=message):
        SpeckleMeasurement(np.ones((4, 3, 2)), np.array(index), np.array(bucket))
