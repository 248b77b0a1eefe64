from __future__ import annotations

import numpy as np
import pytest
from bluesky import RunEngine
from bluesky.simulators import summarize_plan

from cxgi_bluesky.devices.simulated.beamline import SimulatedDiode, simulated_beamline
from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.masks.pattern_set import PatternSet
from cxgi_bluesky.masks.transform import walsh_hadamard_2d
from cxgi_bluesky.measurement.exposures import Exposures
from cxgi_bluesky.measurement.measurement import Measurement
from cxgi_bluesky.plans import hadamard_scan
from cxgi_bluesky.reconstruction.api import reconstruct
from tests.conftest import QUIET, Recorder, small_board

FULL = PatternSet(8, 64)


@pytest.fixture
def drifting_source(monkeypatch):
    """Each reading of the diode is 0.2 % of the first one larger than the reading before."""
    original, counter = SimulatedDiode._expose, []

    def drifting(self):
        original(self)
        counter.append(1)
        self.current.put(self.current.get() * (1 + 0.002 * len(counter)))

    monkeypatch.setattr(SimulatedDiode, "_expose", drifting)


def scan(line, pattern_set=FULL, **options):
    words = {"exposure_s": 0.5, "object_stage": line.object_stage, "open_every": 16} | options
    return hadamard_scan(line.stage, line.shutter, line.diode, board=line.board, pattern_set=pattern_set, **words)


def shutter_is_closed(line) -> bool:
    return line.shutter.state.get() == "closed" and not line.simulation.shutter_open


@pytest.fixture(scope="module")
def scanned():
    """A beamline after a scan, and the documents of it; no test changes them."""
    line, documents = simulated_beamline(small_board(), "CAS", parameters=QUIET), Recorder()
    RunEngine({})(scan(line, md={"sample": "leaf"}), documents)
    return line, documents


def test_a_scan_makes_the_image(scanned):
    beamline, documents = scanned
    exposures = Exposures.from_documents(documents)
    result = reconstruct(Measurement.from_exposures(exposures), method="inverse")
    assert result.scale == "transmission"
    np.testing.assert_allclose(result.image, beamline.simulation.truth, atol=2e-4)
    assert shutter_is_closed(beamline)
    assert beamline.object_stage.state.get() == "in"


def test_streams_and_counts(scanned):
    beamline, documents = scanned
    exposures = Exposures.from_documents(documents)
    counts = {name: len(stream) for name, stream in exposures.streams.items()}
    assert counts == {"primary": 64, "validation": 0, "open": 4 + 3 + 4, "dark": 4, "incident": 4, "metal": 0}
    assert exposures.reference_exposures == 15
    assert beamline.shutter.openings.get() == 64 + 15
    assert beamline.shutter.open_s.get() == pytest.approx(0.5 * 79)


def test_start_document_follows_the_schema(scanned):
    beamline, documents = scanned
    start = documents.of("start")[0]
    words = start["cxgi"]
    assert words["schema"] == 1
    assert words["purpose"] == "image"
    assert words["mode"] == "step"
    assert words["board"]["id"] == "test8"
    assert words["board"]["sha256"] == beamline.board.sha256
    assert PatternSet.from_dict(words["pattern_set"]) == FULL
    assert words["exposure_s"] == 0.5
    assert start["plan_name"] == "hadamard_scan"
    assert start["sample"] == "leaf"
    assert start["plan_args"]["path"] == "order"
    assert start["num_points"] == 64


def test_one_event_per_exposure_with_where_the_stage_was(scanned):
    beamline, documents = scanned
    primary = next(d["uid"] for d in documents.of("descriptor") if d["name"] == "primary")
    rows = [d["data"] for d in documents.of("event") if d["descriptor"] == primary]
    assert [row["pattern_index"] for row in rows] == FULL.pattern_index.tolist()
    for row in rows:
        tile = beamline.board.tile_of(row["pattern_index"])
        assert row["stage_tile"] == tile
        assert (row["stage_x"], row["stage_y"]) == pytest.approx(beamline.board.position_mm(tile))
        assert row["diode_exposure_s"] == 0.5


def test_snake_takes_the_same_tiles_with_less_travel(RE, documents, beamline):
    some = PatternSet(8, 20)
    travel = {}
    for path in ("order", "snake"):
        documents.clear()
        RE(scan(beamline, some, path=path, open_every=0))
        primary = next(d["uid"] for d in documents.of("descriptor") if d["name"] == "primary")
        rows = [d["data"] for d in documents.of("event") if d["descriptor"] == primary]
        places = np.array([(row["stage_x"], row["stage_y"]) for row in rows])
        travel[path] = np.abs(np.diff(places, axis=0)).max(axis=1).sum()
        assert {row["pattern_index"] for row in rows} == set(some.pattern_index.tolist())
    assert travel["snake"] < travel["order"]


def test_without_object_stage_the_image_is_relative(RE, documents, beamline):
    RE(scan(beamline, object_stage=None))
    m = Measurement.from_documents(documents)
    assert m.scale == "relative"
    ratio = reconstruct(m, method="inverse").image / np.maximum(beamline.simulation.truth, 1e-3)
    bright = beamline.simulation.truth > 0.3
    np.testing.assert_allclose(ratio[bright], ratio[bright].mean(), rtol=1e-3)


def test_an_image_without_open_exposures_uses_pattern_0(RE, documents, beamline):
    RE(scan(beamline, open_exposures=0, open_every=0, dark_exposures=0))
    image = reconstruct(Measurement.from_documents(documents), method="inverse").image
    np.testing.assert_allclose(image, beamline.simulation.truth, atol=2e-4)


def test_a_plan_can_be_summarised_without_devices_moving(beamline, capsys):
    summarize_plan(scan(beamline, PatternSet(8, 3)))
    assert "stage_tile -> " in capsys.readouterr().out
    assert beamline.simulation.exposures == 0


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"exposure_s": 0}, "exposure_s 0"),
        ({"exposure_s": float("nan")}, "exposure_s nan"),
        ({"exposure_s": "1"}, "exposure_s '1' is no positive number"),
        ({"exposure_s": None}, "exposure_s None is no positive number"),
        ({"max_open_s": "10"}, "max_open_s '10' is no positive number"),
        ({"max_repeats": 1.5}, r"max_repeats 1\.5: give a whole number"),
        ({"open_exposures": 2.5}, r"open_exposures 2\.5: give a whole number"),
        (
            {"exposure_s": 0.3, "max_open_s": 3.0, "open_exposures": 6, "incident_exposures": 4},
            r"max_open_s 3: 10 exposures of 0\.3 s come before the first pattern, give at least 3\.3 s",
        ),
        ({"path": "spiral"}, "'spiral' is unknown"),
        ({"pattern_set": PatternSet(16, 4)}, "size 16"),
        ({"open_exposures": -1}, "open_exposures -1: give a whole number"),
    ],
)
def test_impossible_requests_are_refused_before_anything_moves(RE, documents, beamline, options, message):
    before = beamline.stage.real_position
    with pytest.raises(CxgiError, match=message):
        RE(scan(beamline, **options))
    assert beamline.stage.real_position == before
    assert not documents


def test_a_board_that_is_not_on_the_stage_is_refused(RE, beamline):
    line = beamline
    with pytest.raises(CxgiError, match="not the one of stage"):
        RE(hadamard_scan(line.stage, line.shutter, line.diode, board="au64", pattern_set=FULL, exposure_s=1.0))


def test_a_pattern_that_the_board_lacks_is_refused(RE):
    line = simulated_beamline(small_board(pattern_index=(0, 1, 2, 3)), "CAS", parameters=QUIET)
    with pytest.raises(CxgiError, match="no tile with pattern_index"):
        RE(scan(line))
    assert line.simulation.exposures == 0


def test_metadata_cannot_replace_the_schema(RE, beamline):
    with pytest.raises(CxgiError, match="'cxgi'"):
        RE(scan(beamline, md={"cxgi": {}}))


@pytest.mark.usefixtures("drifting_source")
def test_drift_does_not_change_the_transmission(RE, documents, beamline):
    RE(scan(beamline, open_every=4))
    m = Measurement.from_documents(documents)
    assert m.scale == "transmission"
    image = reconstruct(m, method="inverse").image
    assert image.sum() == pytest.approx(beamline.simulation.truth.sum(), rel=0.02)


@pytest.mark.usefixtures("drifting_source")
def test_open_exposures_show_drift_and_correct_it(RE, documents, beamline):
    RE(scan(beamline, open_every=4, object_stage=None))
    m = Measurement.from_documents(documents)
    assert m.source["drift_rms"] > 0.02
    image = reconstruct(m, method="inverse").image
    truth = beamline.simulation.truth * image.sum() / beamline.simulation.truth.sum()
    assert np.abs(image - truth).max() < 0.03 * image.max()


def test_validation_patterns_are_measured_beside_the_set_and_make_no_picture(RE, documents, beamline):
    RE(scan(beamline, pattern_set=PatternSet(8, 20), validation=6, validation_seed=3, object_stage=None))
    m = Measurement.from_documents(documents)
    truth = walsh_hadamard_2d(beamline.simulation.truth.astype(float)).ravel()
    assert set(m.pattern_index) == set(PatternSet(8, 20).pattern_index)
    assert len(m.validation) == 6
    assert not set(m.validation.index) & set(m.pattern_index)
    scale = m.coefficient[0] / truth[m.pattern_index[0]]
    np.testing.assert_allclose(m.validation.value, scale * truth[m.validation.index], atol=5e-3 * scale)


def test_validation_patterns_are_spread_over_the_scan(RE, documents, beamline):
    RE(scan(beamline, pattern_set=PatternSet(8, 20), validation=3, object_stage=None, open_every=0))
    streams = {d["uid"]: d["name"] for d in documents.of("descriptor")}
    order = [streams[d["descriptor"]] for d in documents.of("event")]
    places = [i - order.index("primary") for i, name in enumerate(order) if name == "validation"]
    assert places == [6, 12, 18]


def test_validation_patterns_need_some_outside_the_set(beamline):
    with pytest.raises(CxgiError, match="validation 4: the board has no pattern outside those that are measured"):
        list(scan(beamline, validation=4))


def test_the_draws_of_validation_patterns_are_stored(RE, documents, beamline):
    RE(scan(beamline, pattern_set=PatternSet(8, 20), validation=30, validation_seed=3, object_stage=None))
    m = Measurement.from_documents(documents)
    assert len(m.draws) == 30
    assert set(m.draws.pattern_index) == set(m.validation.index)
    assert len(m.validation) < 30
