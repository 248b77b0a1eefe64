from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
from bluesky import RunEngine
from bluesky.utils import RunEngineInterrupted

from cxgi_bluesky.devices.simulated.beamline import simulated_beamline
from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.masks.pattern_set import PatternSet
from cxgi_bluesky.measurement.exposures import Exposures
from cxgi_bluesky.measurement.measurement import Measurement
from cxgi_bluesky.plans import dark_scan, hadamard_scan, metal_scan, reference_scan
from cxgi_bluesky.reconstruction.api import reconstruct
from cxgi_bluesky.simulation.base import Detector
from cxgi_bluesky.simulation.board.etching import Defects
from tests.conftest import QUIET, small_board
from tests.plans.test_endings import interrupted

FULL, SOME = PatternSet(8, 64), PatternSet(8, 16)
UNEVEN = replace(
    QUIET,
    defects=Defects(corner_um=1.0, offset_rms_um=0.8, seed=3),
    detector=replace(QUIET.detector, background_pa=0.3),
)


def etched_line():
    """A board whose tiles pass more or less than designed, and a detector with a dark current."""
    return simulated_beamline(small_board(), "CAS", parameters=UNEVEN)


@pytest.fixture
def etched():
    return etched_line()


def words(line, **options):
    return {"board": line.board, "exposure_s": 0.5, "object_stage": line.object_stage, **options}


def image_of(RE, line, pattern_set=SOME, **options) -> Exposures:
    exposures = Exposures()
    plan = hadamard_scan(line.stage, line.shutter, line.diode, **words(line, pattern_set=pattern_set, **options))
    RE(plan, exposures)
    return exposures


def reference_of(RE, line, pattern_set=SOME, **options) -> Exposures:
    exposures = Exposures()
    plan = reference_scan(line.stage, line.shutter, line.diode, **words(line, pattern_set=pattern_set, **options))
    RE(plan, exposures)
    return exposures


@pytest.fixture(scope="module")
def scans():
    """Image and reference of all patterns of the etched board, which no test changes."""
    run_engine, line = RunEngine({}), etched_line()
    return image_of(run_engine, line, FULL), reference_of(run_engine, line, FULL)


def safe(line) -> bool:
    return not line.simulation.shutter_open and line.simulation.object_in


def test_a_reference_holds_what_each_tile_passes_without_the_object(etched, scans):
    _, reference = scans
    assert reference.start["cxgi"]["purpose"] == "reference"
    counts = {name: len(stream) for name, stream in reference.streams.items()}
    assert counts == {"primary": 64, "validation": 0, "open": 4 + 4, "dark": 4, "incident": 0, "metal": 4}
    etched.simulation.object_in = False
    etched.simulation.open_shutter()
    for k in (0, 5, 63):
        etched.simulation.move_to(*etched.board.position_mm(etched.board.tile_of(k)))
        assert reference.streams["primary"][k].bucket == pytest.approx(etched.simulation.current_pa() + 0.3)


def test_afterwards_the_shutter_is_closed_and_the_object_in(RE, etched):
    reference_of(RE, etched)
    assert safe(etched)


def test_the_correction_takes_the_masks_mean_error_off(etched, scans):
    image, reference = scans
    plain = reconstruct(Measurement.from_exposures(image), method="inverse")
    corrected = reconstruct(Measurement.from_exposures(image, reference=reference), method="inverse")
    errors = [np.std(r.image - etched.simulation.truth) for r in (plain, corrected)]
    assert errors[1] < 0.5 * errors[0]
    assert corrected.source["reference_uids"] == [reference.start["uid"]]
    assert 0.02 < corrected.source["mask_error"] < 0.3


def test_a_reference_of_a_perfect_board_changes_nothing(RE, beamline):
    image, reference = image_of(RE, beamline), reference_of(RE, beamline)
    plain = Measurement.from_exposures(image)
    corrected = Measurement.from_exposures(image, reference=reference)
    np.testing.assert_allclose(corrected.coefficient, plain.coefficient, atol=1e-3 * plain.coefficient[0])
    assert corrected.pattern_error == pytest.approx(0, abs=1e-3)


def test_a_reference_gives_the_incident_intensity(RE, etched):
    image = image_of(RE, etched, incident_exposures=0)
    assert Measurement.from_exposures(image).scale == "relative"
    assert Measurement.from_exposures(image, reference=reference_of(RE, etched)).scale == "transmission"


def test_a_reference_of_another_board_is_refused(RE, etched):
    image = image_of(RE, etched)
    other = simulated_beamline(small_board(name="other"), "CAS", parameters=QUIET)
    with pytest.raises(CxgiError, match=r"another board.*'other'"):
        Measurement.from_exposures(image, reference=reference_of(RE, other))


@pytest.mark.parametrize("other", [PatternSet(8, 12), PatternSet(8, 16, "cake-cutting")])
def test_a_reference_of_another_pattern_set_is_refused(RE, etched, other):
    with pytest.raises(CxgiError, match="another pattern set"):
        Measurement.from_exposures(image_of(RE, etched), reference=reference_of(RE, etched, other))


def test_an_image_is_no_reference(scans):
    image, _ = scans
    with pytest.raises(CxgiError, match=r"no reference scan.*'image'"):
        Measurement.from_exposures(image, reference=image)


def test_patterns_that_the_reference_lacks_are_left_out_and_listed(scans):
    image, reference = copy.deepcopy(scans)
    for k in (9, 33):
        del reference.streams["primary"][k]
    m = Measurement.from_exposures(image, reference=reference)
    assert len(m) == 62
    assert m.source["left_out_because"]["not in the reference scan"] == [9, 33]


def test_noise_of_the_reference_is_in_sigma(RE):
    noisy = replace(QUIET, detector=Detector(electrometer_fa=50.0, background_pa=0.0))
    line = simulated_beamline(small_board(), "CAS", parameters=noisy, seed=1)
    image, reference = image_of(RE, line), reference_of(RE, line)
    plain, corrected = (Measurement.from_exposures(image, reference=r) for r in (None, reference))
    assert np.mean(corrected.sigma[1:] ** 2) > 1.01 * np.mean(plain.sigma[1:] ** 2)


def test_links_are_in_the_start_document(RE, etched, scans):
    image = image_of(RE, etched, reference_uid="abc", dark_uid="def")
    assert image.start["cxgi"]["reference_uid"] == "abc"
    assert image.start["cxgi"]["dark_uid"] == "def"
    assert "reference_uid" not in scans[0].start["cxgi"]


def test_a_dark_scan_serves_an_image_without_dark_readings(RE, etched):
    dark = Exposures()
    RE(dark_scan(etched.shutter, etched.diode, exposure_s=0.5, exposures=8), dark)
    assert dark.start["cxgi"]["purpose"] == "dark"
    assert len(dark.streams["dark"]) == 8
    assert dark.dark == pytest.approx(0.3)
    assert etched.simulation.shutter_open_s == 0
    image = image_of(RE, etched, dark_exposures=0)
    own = Measurement.from_exposures(image_of(RE, etched))
    linked = Measurement.from_exposures(image, dark=dark)
    np.testing.assert_allclose(linked.coefficient, own.coefficient, atol=1e-6 * own.coefficient[0])
    assert Measurement.from_exposures(image).coefficient[0] > 1.01 * own.coefficient[0]


def test_a_dark_scan_has_readings(etched):
    with pytest.raises(CxgiError, match="at least one reading"):
        list(dark_scan(etched.shutter, etched.diode, exposure_s=0.5, exposures=0))


def test_the_unit_of_the_buckets_is_in_the_start_document(scans):
    image, _ = scans
    assert image.start["cxgi"]["bucket_unit"] == "pA"


def test_no_image_is_made_of_a_dark_scan(RE, etched):
    dark = Exposures()
    RE(dark_scan(etched.shutter, etched.diode, exposure_s=0.5), dark)
    with pytest.raises(CxgiError, match="dark scan: it holds no patterns"):
        Measurement.from_exposures(dark)


@pytest.mark.parametrize("object_out", [True, False])
def test_a_metal_scan_tells_d_r(RE, etched, object_out):
    metal = Exposures()
    stage = etched.object_stage if object_out else None
    devices = etched.stage, etched.shutter, etched.diode
    RE(metal_scan(*devices, board=etched.board, exposure_s=0.5, exposures=3, object_stage=stage), metal)
    value, sigma = metal.estimate_d_r()
    assert value == pytest.approx(0.83, abs=3e-3 + 3 * sigma)  # the open tile's rim is etched round
    assert len(metal.streams["metal"]) == len(metal.streams["open"]) == 3
    assert safe(etched)


@pytest.mark.parametrize("incident", [0, 4])
def test_metal_exposures_of_an_image_tell_d_r_too(RE, etched, scans, incident):
    m = Measurement.from_exposures(image_of(RE, etched, metal_exposures=2, incident_exposures=incident))
    assert m.source["d_r_measured"][0] == pytest.approx(0.83, abs=3e-3 if incident else 0.02)
    assert Measurement.from_exposures(scans[0]).source["d_r_measured"] is None


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"exposure_s": 0}, "exposure_s 0"),
        ({"metal_exposures": -1}, "metal_exposures -1"),
        ({"path": "spiral"}, "'spiral'"),
    ],
)
def test_impossible_requests_are_refused_before_anything_moves(RE, etched, options, message):
    before = etched.simulation.exposures
    with pytest.raises(CxgiError, match=message):
        reference_of(RE, etched, **options)
    assert etched.simulation.exposures == before


def plan_of(line):
    return reference_scan(line.stage, line.shutter, line.diode, **words(line, pattern_set=SOME))


@pytest.mark.parametrize("ending", ["abort", "stop", "halt"])
def test_however_a_reference_ends_the_shutter_is_closed(RE, etched, ending):
    with pytest.raises(RunEngineInterrupted):
        RE(interrupted(plan_of(etched), 200))
    assert not etched.simulation.shutter_open
    getattr(RE, ending)()
    assert not etched.simulation.shutter_open
    assert etched.simulation.object_in or ending == "halt"  # a halt runs no clean-up but the devices' own


def test_a_paused_reference_is_complete_after_resuming(RE, etched):
    exposures = Exposures()
    with pytest.raises(RunEngineInterrupted):
        RE(interrupted(plan_of(etched), 200), exposures)
    RE.resume()
    assert len(exposures) == 16
    assert safe(etched)
