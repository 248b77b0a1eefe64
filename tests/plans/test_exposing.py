"""Exposures that fail their checks are repeated, bounded and recorded; what a run costs is in the run."""

from __future__ import annotations

import math

import numpy as np
import pytest
from bluesky.utils import RunEngineInterrupted

from cxgi_bluesky.devices.diode import Current
from cxgi_bluesky.devices.simulated.beamline import SimulatedDiode, SimulatedMaskStage
from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.masks.pattern_set import PatternSet
from cxgi_bluesky.measurement.exposures import FIGURES, Exposures
from cxgi_bluesky.measurement.measurement import Measurement
from cxgi_bluesky.reconstruction.api import reconstruct
from tests.plans.test_endings import Broken, fail_after, interrupted
from tests.plans.test_raster import FULL, scan, shutter_is_closed

SOME = PatternSet(8, 24)
READINGS = 24 + 4 + 4 + 1 + 4  # of patterns, incident, open before, between and after


def stream(documents, name):
    """Data of the events of a stream."""
    (descriptor,) = [d for d in documents.of("descriptor") if d["name"] == name] or [{"uid": None}]
    return [e["data"] for e in documents.of("event") if e["descriptor"] == descriptor["uid"]]


def changed_readings(monkeypatch, change):
    """Give each reading of the diode, by its number from 0, another current."""
    original, counter = SimulatedDiode._expose, []

    def reading(self):
        original(self)
        self.current.put(change(len(counter), self.current.get()))
        counter.append(1)

    monkeypatch.setattr(SimulatedDiode, "_expose", reading)


def test_a_failed_exposure_is_repeated_and_recorded(RE, documents, beamline, monkeypatch):
    changed_readings(monkeypatch, lambda number, value: math.nan if number == 30 else value)
    RE(scan(beamline, FULL))
    exposures = Exposures.from_documents(documents)
    assert len(exposures) == 64
    assert Measurement.from_exposures(exposures).source["left_out"] == []
    (failed,) = stream(documents, "failed")
    assert failed["exposure_fault"] == "primary: not a number"
    assert failed["pattern_index"] in exposures.streams["primary"]
    assert exposures.figures["repeats"] == 1
    assert exposures.figures["openings"] == beamline.simulation.openings == 64 + 15 + 1
    np.testing.assert_allclose(
        reconstruct(Measurement.from_exposures(exposures), method="inverse").image, beamline.simulation.truth, atol=2e-4
    )


def test_repeats_are_bounded_and_the_last_one_is_stored_as_it_is(RE, documents, beamline, monkeypatch):
    changed_readings(monkeypatch, lambda number, value: math.nan if 20 <= number < 30 else value)
    RE(scan(beamline, SOME, max_repeats=4))
    exposures = Exposures.from_documents(documents)
    assert len(exposures) == 24
    assert Measurement.from_exposures(exposures).source["left_out_because"].keys() == {"not a number"}
    assert len(stream(documents, "failed")) == exposures.figures["repeats"] == 8
    assert beamline.simulation.openings == READINGS + 8


def test_no_repeats_on_request(RE, documents, beamline, monkeypatch):
    changed_readings(monkeypatch, lambda number, value: math.nan if number == 20 else value)
    RE(scan(beamline, SOME, max_repeats=0))
    assert stream(documents, "failed") == []
    assert beamline.simulation.openings == READINGS


@pytest.mark.parametrize("dip", [0.4, 1.9, math.nan, 0.0])
def test_another_intensity_is_repeated(RE, documents, beamline, monkeypatch, dip):
    i0 = Current(name="i0", value=7.0)
    monkeypatch.setattr(beamline.diode, "i0_name", "i0")
    monkeypatch.setattr(beamline.diode, "read", lambda: {**SimulatedDiode.read(beamline.diode), **i0.read()})
    monkeypatch.setattr(
        beamline.diode, "describe", lambda: {**SimulatedDiode.describe(beamline.diode), **i0.describe()}
    )
    changed_readings(monkeypatch, lambda number, value: i0.put(7.0 * dip if number == 20 else 7.0) or value)
    RE(scan(beamline, SOME))
    (failed,) = stream(documents, "failed")
    assert failed["exposure_fault"].startswith("primary: I0 ")
    assert len(Exposures.from_documents(documents)) == 24


def test_a_move_that_ends_beside_is_made_again_before_anything_is_exposed(RE, documents, beamline, monkeypatch):
    forward, counter = SimulatedMaskStage.forward, []

    def sometimes_beside(self, *args, **words):
        x, y = forward(self, *args, **words)
        counter.append(1)
        return self.RealPosition(x + 0.01 * (len(counter) == 20), y)

    monkeypatch.setattr(SimulatedMaskStage, "forward", sometimes_beside)
    RE(scan(beamline, SOME))
    exposures = Exposures.from_documents(documents)
    assert exposures.figures["moves_repeated"] == 1
    assert exposures.figures["repeats"] == 0
    assert len(exposures) == 24
    assert beamline.simulation.openings == READINGS


def bumped(monkeypatch, beamline, numbers):
    """The stage is pushed while these exposures (counted from 0) are made."""

    def push(number, value):
        if number in numbers:
            beamline.stage.x.set(beamline.stage.x.position + 0.02)
        return value

    changed_readings(monkeypatch, push)


def test_a_stage_that_is_pushed_in_an_exposure_spoils_it(RE, documents, beamline, monkeypatch):
    bumped(monkeypatch, beamline, {20})
    RE(scan(beamline, SOME))
    (failed,) = stream(documents, "failed")
    assert "20.0 um from tile" in failed["exposure_fault"]
    assert "the exposure is not used" in failed["exposure_fault"]
    assert len(Exposures.from_documents(documents)) == 24


def test_one_that_does_not_stay_ends_the_scan_and_stores_nothing_under_its_name(RE, documents, beamline, monkeypatch):
    bumped(monkeypatch, beamline, range(20, 1000))
    with pytest.raises(RuntimeError, match=r"20\.0 um from tile \d+ .* the exposure is not used"):
        RE(scan(beamline, SOME))
    exposures = Exposures.from_documents(documents)
    assert len(stream(documents, "failed")) == 3
    assert len(exposures) + exposures.reference_exposures + 4 == 20
    assert shutter_is_closed(beamline)


# ---------------------------------------------------------------- what it costs


def test_the_budget_ends_a_scan_cleanly(RE, documents, beamline):
    RE(scan(beamline, SOME, max_open_s=10.0))  # of 0.5 s each
    (stop,) = documents.of("stop")
    assert stop["exit_status"] == "success"
    assert "max_open_s 10" in stop["reason"]
    assert beamline.shutter.open_s.get() == 10.0
    exposures = Exposures.from_documents(documents)
    assert len(exposures) + exposures.reference_exposures == 20
    assert exposures.figures["open_s"] == 10.0
    assert shutter_is_closed(beamline)
    assert beamline.object_stage.state.get() == "in"
    reconstruct(Measurement.from_exposures(exposures), method="correlation")


def test_a_budget_of_exactly_the_scan_is_enough(RE, documents, beamline):
    RE(scan(beamline, SOME, max_open_s=0.5 * READINGS))
    assert not documents.of("stop")[0].get("reason")
    assert len(Exposures.from_documents(documents)) == 24


@pytest.mark.parametrize("words", [{"max_open_s": 0}, {"max_open_s": math.inf}, {"max_repeats": -1}])
def test_impossible_limits_are_refused_before_anything_moves(RE, documents, beamline, words):
    with pytest.raises(CxgiError, match=next(iter(words))):
        RE(scan(beamline, SOME, **words))
    assert not documents
    assert beamline.simulation.exposures == 0


def test_figures_are_of_the_run_alone(RE, documents, beamline):
    for _ in range(2):
        documents.clear()
        RE(scan(beamline, PatternSet(8, 5)))
        (last,) = stream(documents, "figures")
        assert last == {
            "exposure_open_s": 0.5 * 17,
            "exposure_openings": 17,
            "exposure_repeats": 0,
            "exposure_moves_repeated": 0,
        }


def test_figures_have_units_and_are_in_every_event_of_an_exposure(RE, documents, beamline):
    RE(scan(beamline, PatternSet(8, 5)))
    for descriptor in documents.of("descriptor"):
        if descriptor["name"] != "dark":
            keys = {key: descriptor["data_keys"][key] for key in FIGURES}
            assert keys["exposure_open_s"]["units"] == "s"
            assert all(keys[key]["dtype"] == "integer" for key in FIGURES if key != "exposure_open_s")


def test_figures_of_a_scan_that_failed_count_the_exposure_that_is_not_stored(RE, documents, beamline, monkeypatch):
    fail_after(beamline.diode, "trigger", 30, monkeypatch)
    with pytest.raises(Broken):
        RE(scan(beamline, SOME))
    assert Exposures.from_documents(documents).figures["openings"] == beamline.simulation.openings == 30 - 4


def test_figures_count_what_a_pause_repeats(RE, documents, beamline):
    with pytest.raises(RunEngineInterrupted):
        RE(interrupted(scan(beamline, SOME), 305))
    RE.resume()
    exposures = Exposures.from_documents(documents)
    assert len(exposures) == 24
    assert exposures.figures["openings"] == beamline.simulation.openings > READINGS
