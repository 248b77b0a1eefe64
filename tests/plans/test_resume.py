"""A scan that was cut off is completed by another run: what both have measured is one image."""

from __future__ import annotations

import math

import numpy as np
import pytest

from cxgi_bluesky.devices.simulated.beamline import simulated_beamline
from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.masks.board import Alignment
from cxgi_bluesky.masks.pattern_set import PatternSet
from cxgi_bluesky.measurement.exposures import Exposures
from cxgi_bluesky.measurement.measurement import Measurement
from cxgi_bluesky.plans import dark_scan, resume_scan
from cxgi_bluesky.reconstruction.api import reconstruct
from tests.conftest import QUIET, Recorder, small_board
from tests.plans.test_endings import Broken, fail_after
from tests.plans.test_exposing import changed_readings
from tests.plans.test_raster import scan

SOME = PatternSet(8, 24)


def resume(line, earlier, **options):
    return resume_scan(line.stage, line.shutter, line.diode, earlier=earlier, object_stage=line.object_stage, **options)


def recorded(RE, plan, error=None):
    """Documents of a plan, as exposures."""
    documents = Recorder()
    token = RE.subscribe(documents)
    try:
        if error is None:
            RE(plan)
        else:
            with pytest.raises(error):
                RE(plan)
    finally:
        RE.unsubscribe(token)
    return Exposures.from_documents(documents)


@pytest.fixture
def cut_off(RE, beamline, monkeypatch):
    """A scan whose detector failed after a third of the patterns."""
    with monkeypatch.context() as patch:
        fail_after(beamline.diode, "trigger", 40, patch)
        return recorded(RE, scan(beamline, validation=0), Broken)


def test_only_what_is_missing_is_exposed_and_both_runs_make_the_image(RE, beamline, cut_off):
    measured = set(cut_off.streams["primary"])
    rest = recorded(RE, resume(beamline, cut_off))
    assert set(rest.streams["primary"]).isdisjoint(measured)
    assert rest.start["cxgi"]["resumes"] == cut_off.start["uid"]
    assert rest.start["num_points"] == 64 - len(measured)
    whole = rest.continuing(cut_off)
    assert len(whole) == 64
    assert {name: len(of) for name, of in whole.streams.items()} == {
        name: len(of) + len(rest.streams[name]) for name, of in cut_off.streams.items()
    }
    result = reconstruct(Measurement.from_exposures(whole), method="inverse")
    np.testing.assert_allclose(result.image, beamline.simulation.truth, atol=2e-4)
    assert result.source["raw_uids"] == [cut_off.start["uid"], rest.start["uid"]]
    assert whole.figures["openings"] == beamline.simulation.openings


def test_a_pattern_whose_exposure_cannot_be_trusted_is_missing_too(RE, beamline, monkeypatch):
    with monkeypatch.context() as patch:
        changed_readings(patch, lambda number, value: math.nan if 20 <= number < 23 else value)
        earlier = recorded(RE, scan(beamline, SOME))
    assert len(earlier) == 24
    rest = recorded(RE, resume(beamline, earlier))
    assert len(rest) == 1
    assert len(Measurement.from_exposures(rest.continuing(earlier)).pattern_index) == 24


def test_what_completes_a_scan_is_of_the_same_sample(RE, beamline):
    earlier = recorded(RE, scan(beamline, md={"sample": "leaf", "operator": "me"}, max_open_s=30.0))
    rest = recorded(RE, resume(beamline, earlier, max_open_s=1000.0, md={"operator": "you"}))
    assert (rest.start["sample"], rest.start["operator"]) == ("leaf", "you")


def test_a_resumed_scan_can_be_resumed(RE, beamline, cut_off, monkeypatch):
    with monkeypatch.context() as patch:
        fail_after(beamline.diode, "trigger", 30, patch)
        second = recorded(RE, resume(beamline, cut_off), Broken).continuing(cut_off)
    third = recorded(RE, resume(beamline, second)).continuing(second)
    assert third.uids == [*second.uids, third.start["uid"]]
    assert len(third.uids) == 3
    assert len(third) == 64
    with pytest.raises(CxgiError, match="nothing is missing"):
        RE(resume(beamline, third))


def test_a_scan_without_any_exposure_can_be_resumed(RE, beamline, monkeypatch):
    with monkeypatch.context() as patch:
        fail_after(beamline.diode, "trigger", 1, patch)
        nothing = recorded(RE, scan(beamline, SOME), Broken)
    assert len(recorded(RE, resume(beamline, nothing))) == 24


def test_the_path_and_the_validation_patterns_are_those_of_the_earlier_scan(RE, beamline, monkeypatch):
    words = {"path": "snake", "validation": 6, "validation_seed": 4}
    whole = recorded(RE, scan(beamline, SOME, **words))
    with monkeypatch.context() as patch:
        fail_after(beamline.diode, "trigger", 30, patch)
        earlier = recorded(RE, scan(beamline, SOME, **words), Broken)
    rest = recorded(RE, resume(beamline, earlier))
    assert 0 < len(earlier.streams["validation"]) < 6
    both = [*earlier.streams["primary"], *rest.streams["primary"]]
    assert both == list(whole.streams["primary"])
    joined = rest.continuing(earlier)
    assert set(joined.streams["validation"]) == set(whole.streams["validation"])


def test_the_rest_of_the_budget(RE, beamline):
    first = recorded(RE, scan(beamline, max_open_s=10.0))
    assert first.figures["open_s"] == 10.0
    with pytest.raises(CxgiError, match=r"budget of run .* is spent \(max_open_s 10\): give max_open_s"):
        RE(resume(beamline, first))
    second = recorded(RE, resume(beamline, first, max_open_s=12.0)).continuing(first)
    assert second.figures["open_s"] == 22.0
    third = recorded(RE, resume(beamline, second, max_open_s=100.0)).continuing(second)
    assert len(third) == 64


def test_what_is_left_of_the_budget_is_that_of_the_rest(RE, beamline, monkeypatch):
    with monkeypatch.context() as patch:
        fail_after(beamline.diode, "trigger", 40, patch)
        earlier = recorded(RE, scan(beamline, max_open_s=30.0), Broken)
    spent = earlier.figures["open_s"]
    rest = recorded(RE, resume(beamline, earlier))
    assert rest.start["plan_args"]["max_open_s"] == 30.0 - spent
    assert rest.continuing(earlier).figures["open_s"] == 30.0


def test_another_board_detector_or_kind_of_run_is_refused(RE, beamline, cut_off, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(beamline.diode, "i0_name", "diode_i0", raising=False)
        with pytest.raises(CxgiError, match="has intensity monitor None, this scan would have 'diode_i0': start a new"):
            RE(resume(beamline, cut_off))
    moved = simulated_beamline(small_board(alignment=Alignment(x0_mm=1.0)), "CAS", parameters=QUIET)
    with pytest.raises(CxgiError, match="another one or another alignment"):
        RE(resume(moved, cut_off))
    dark = recorded(RE, dark_scan(beamline.shutter, beamline.diode, exposure_s=1.0, exposures=2))
    with pytest.raises(CxgiError, match="is no image"):
        RE(resume(beamline, dark))
    monkeypatch.setattr(beamline.diode.current, "name", "other_current")
    with pytest.raises(CxgiError, match="has detector 'diode_current', this scan would have 'other_current'"):
        RE(resume(beamline, cut_off))
    assert beamline.simulation.openings == cut_off.figures["openings"]
