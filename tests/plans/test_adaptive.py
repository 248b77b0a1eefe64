"""Scans that choose their patterns, and scans that end when the image is good enough."""

from __future__ import annotations

import re
import threading
import time

import pytest
from bluesky.utils import RunEngineInterrupted

from cxgi_bluesky.callbacks.live_steering import Goal, LiveSteering, Steering
from cxgi_bluesky.devices.simulated.beamline import simulated_beamline
from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.masks.pattern_set import ChosenSet, PatternSet
from cxgi_bluesky.measurement.exposures import Exposures
from cxgi_bluesky.measurement.measurement import Measurement
from cxgi_bluesky.plans import adaptive_scan, mask_scan, reference_scan, resume_scan
from cxgi_bluesky.reconstruction.cross_validation import reconstruct_and_check
from cxgi_bluesky.reconstruction.planning.choose import RULES, start_patterns
from tests.conftest import QUIET, Recorder, small_board

SIZE = 16
EASY = {"psnr_db": 3.0}  # any image reaches it


@pytest.fixture
def line():
    """Exposures take their time, so that images are made beside them."""
    return simulated_beamline(small_board(SIZE), "CAS", parameters=QUIET, time_scale=1.0)


@pytest.fixture
def quick_line():
    return simulated_beamline(small_board(SIZE), "CAS", parameters=QUIET)


def choosing(line, count=100, **options):
    settings = {
        "exposure_s": 0.005,
        "open_exposures": 1,
        "dark_exposures": 1,
        "incident_exposures": 1,
        "validation": 20,
    }
    settings |= options
    return adaptive_scan(line.stage, line.shutter, line.diode, count=count, object_stage=line.object_stage, **settings)


def fixed(line, **options):
    settings = {"exposure_s": 0.005, "pattern_set": PatternSet(SIZE, 200), "object_stage": line.object_stage} | options
    return mask_scan(line.stage, line.shutter, line.diode, **settings)


def streams(documents):
    names = {d["uid"]: d["name"] for d in documents.of("descriptor")}
    return [(names[d["descriptor"]], d["data"]) for d in documents.of("event")]


def test_a_scan_measures_its_start_set_then_what_it_chooses_and_no_validation_pattern_twice(RE, documents, quick_line):
    RE(choosing(quick_line, validation=20))
    exposures = Exposures.from_documents(documents)
    measured, validated = list(exposures.streams["primary"]), set(exposures.streams["validation"])
    assert len(measured) + len(validated) == 100
    assert set(start_patterns(SIZE).tolist()) <= set(measured[: len(start_patterns(SIZE))])
    assert not validated & set(measured)
    assert validated == set(exposures.validation_draws.patterns)


def test_the_start_document_says_how_patterns_are_chosen(RE, documents, quick_line):
    RE(choosing(quick_line, seed=4))
    stored = documents.of("start")[0]["cxgi"]["pattern_set"]
    assert stored["order"] == "chosen"
    rebuilt = ChosenSet.from_dict(stored)
    assert (rebuilt.rule, rebuilt.seed, rebuilt.size) == ("foreseen", 4, SIZE)
    assert rebuilt.to_dict() == stored


def test_every_batch_is_stored_with_its_image_and_its_travel(RE, documents, line):
    RE(choosing(line, 180))
    batches = [data for name, data in streams(documents) if name == "batches"]
    chosen = sum(data["batch_patterns"] for data in batches)
    assert chosen == len(Exposures.from_documents(documents)) - len(start_patterns(SIZE))
    assert all(data["batch_travel_mm"] > 0 for data in batches)
    assert batches[-1]["batch_image_patterns"] > 0


def test_a_scan_without_any_image_chooses_by_what_objects_have_in_general(RE, documents, quick_line, monkeypatch):
    monkeypatch.setattr("cxgi_bluesky.callbacks.live_steering.LiveSteering._make_image", lambda *_: 1 / 0)
    RE(choosing(quick_line, 60))
    exposures = Exposures.from_documents(documents)
    assert len(exposures) + len(exposures.streams["validation"]) == 60


@pytest.mark.parametrize("plan", [choosing, fixed])
def test_a_scan_ends_when_its_image_is_good_enough_and_says_so(RE, documents, line, plan):
    RE(plan(line, **({"count": 200} if plan is choosing else {}), until=EASY))
    stop = documents.of("stop")[0]
    assert stop["exit_status"] == "success"
    assert stop["reason"].startswith("good enough: PSNR at least ")
    assert stop["num_events"]["primary"] < 180
    assert streams(documents)[-2][0] == "open"  # the drift is known to the end
    assert line.shutter.state.get() == "closed"


@pytest.mark.parametrize("plan", [choosing, fixed])
def test_a_scan_whose_image_never_is_goes_on_to_its_end_and_says_how_far_it_is(RE, documents, line, plan):
    RE(plan(line, **({"count": 200} if plan is choosing else {}), until={"psnr_db": 99}))
    stop = documents.of("stop")[0]
    assert stop["exit_status"] == "success"
    assert stop["num_events"]["primary"] + stop["num_events"]["validation"] >= 200
    assert re.match(
        r"not good enough: PSNR at least \d+\.\d dB \(wanted PSNR at least 99 dB\) with \d+ patterns", stop["reason"]
    )


def test_an_image_without_a_psnr_does_not_hide_that_of_the_one_before():
    """At the end of a scan too few patterns may be left to judge by."""
    steering = LiveSteering()
    steering.newest_with_psnr = Steering(image_patterns=150, psnr_db=26.0, psnr_low_db=24.0, lines_z=None, ranked=None)
    steering.newest = Steering(image_patterns=190, psnr_db=None, psnr_low_db=None, lines_z=None, ranked=None)
    reason = Goal({"psnr_db": 30.0}, steering).explain_end(192)
    assert reason == "not good enough: PSNR at least 24.0 dB (wanted PSNR at least 30 dB) with 150 patterns"
    assert Goal({"psnr_db": 20.0}, steering).find_reason() is None


def hang(*_):
    time.sleep(2)


def break_down(*_):
    raise RuntimeError("no memory")


@pytest.mark.parametrize(
    ("make_image", "why"),
    [
        (hang, "exposures are faster than images, all 200 patterns were measured"),
        (break_down, "there was no image (no memory)"),
    ],
)
def test_a_scan_that_no_image_has_judged_says_so_and_why(RE, documents, quick_line, monkeypatch, make_image, why):
    monkeypatch.setattr("cxgi_bluesky.callbacks.live_steering.LiveSteering._make_image", make_image)
    RE(fixed(quick_line, until=EASY, exposure_s=0.001))
    assert documents.of("stop")[0]["reason"] == f"never judged (wanted PSNR at least 3 dB): {why}"


def test_the_stop_document_says_that_images_came_late():
    newest = Steering(image_patterns=113, psnr_db=14.0, psnr_low_db=12.0, lines_z=None, ranked=None)
    steering = LiveSteering("tv")
    steering.newest = newest
    reason = Goal({"psnr_db": 22}, steering).explain_end(768)
    assert reason.endswith(
        "with 113 patterns, the newest image: exposures are faster than images, all 768 patterns were measured"
    )
    assert Goal({"psnr_db": 12}, steering).explain_end(768).startswith("good enough: PSNR at least 12.0 dB")


def test_the_budget_rules_over_the_goal(RE, documents, quick_line):
    RE(choosing(quick_line, until={"psnr_db": 99}, max_open_s=0.25))
    stop = documents.of("stop")[0]
    assert stop["reason"].startswith("exposure budget")
    assert stop["num_events"]["primary"] < 50


def test_a_stored_scan_has_its_psnr_and_the_image_those_validation_patterns_that_the_rule_wanted(
    RE, documents, quick_line
):
    RE(choosing(quick_line, 150, validation=40))
    m = Measurement.from_documents(documents)
    result = reconstruct_and_check(m, method="tv")
    assert result.quality["psnr_low_db"] < result.quality["psnr_db"] < result.quality["psnr_high_db"]
    wanted = Exposures.from_documents(documents).wanted
    assert wanted
    assert set(m.draws.patterns) & set(result.pattern_index.tolist()) == wanted
    assert set(m.validation.index.tolist()) == set(m.draws.patterns) - wanted
    assert any(line.startswith("without a truth: PSNR ") for line in result.summary())


def test_a_scan_that_was_cut_off_is_resumed_to_its_count(RE, documents, quick_line):
    earlier = Recorder()
    RE(choosing(quick_line, 100, validation=10, max_open_s=0.25), earlier)
    begun = Exposures.from_documents(earlier)
    assert len(begun) < 60
    line = quick_line
    RE(resume_scan(line.stage, line.shutter, line.diode, earlier=begun, max_open_s=10, object_stage=line.object_stage))
    resumed = Exposures.from_documents(documents.of_last_run())
    assert not set(resumed.streams["primary"]) & set(begun.streams["primary"])
    whole = resumed.continuing(begun)
    assert len(whole) == whole.pattern_set.count
    assert set(whole.streams["validation"]) == set(begun.validation_draws.patterns)


def test_a_pause_loses_and_repeats_nothing(RE, documents, line):
    asking = threading.Thread(target=RE.request_pause)

    def pause(name, document):
        if document["seq_num"] == 40 and not asking.ident:
            asking.start()

    RE.subscribe(pause, "event")
    with pytest.raises(RunEngineInterrupted):
        RE(choosing(line, 100))
    asking.join()
    assert line.shutter.state.get() == "closed"
    RE.resume()
    exposures = Exposures.from_documents(documents)
    assert len(exposures) + len(exposures.streams["validation"]) == 100


def test_a_reference_scan_measures_the_tiles_that_were_chosen(RE, documents, quick_line):
    line, image, reference = quick_line, Recorder(), Recorder()
    RE(choosing(line, 100, validation=30), image)
    chosen = Exposures.from_documents(image)
    words = {"exposure_s": 0.005, "object_stage": line.object_stage}
    RE(reference_scan(line.stage, line.shutter, line.diode, of=chosen, **words), reference)
    passed = Exposures.from_documents(reference)
    assert set(passed.streams["primary"]) == {*chosen.streams["primary"], *chosen.streams["validation"]}
    corrected = Measurement.from_exposures(chosen, reference=passed)
    assert set(corrected.pattern_index.tolist()) == {*chosen.streams["primary"], *chosen.wanted}


def test_a_rule_of_the_user_is_followed(RE, documents, line, monkeypatch):
    monkeypatch.setitem(RULES, "highest", lambda known: (~known.measured).nonzero()[0][::-1])
    RE(choosing(line, 120, rule="highest"))
    assert max(Exposures.from_documents(documents).streams["primary"]) >= SIZE**2 - 10


@pytest.mark.parametrize(
    ("plan", "options", "message"),
    [
        (choosing, {"rule": "best"}, "rule 'best' is unknown: choose one of foreseen, magnitude"),
        (choosing, {"method": "magic"}, "method 'magic' is unknown"),
        (choosing, {"count": 20}, "count 20: give"),
        (choosing, {"count": 257}, "count 257: give"),
        (choosing, {"until": {"psnr": 20}}, r"until \{'psnr': 20\}: give \{'psnr_db': 25\}"),
        (choosing, {"until": {"psnr_db": "20"}}, "until psnr_db '20': give a number of dB"),
        (fixed, {"until": {}}, r"until \{\}: give"),
        (fixed, {"until": {"psnr_db": 20}, "path": "snake"}, "until with path 'snake'"),
        (fixed, {"until": {"psnr_db": float("nan")}}, "until psnr_db nan"),
    ],
)
def test_what_is_impossible_is_refused_before_anything_moves(RE, documents, quick_line, plan, options, message):
    with pytest.raises(CxgiError, match=message):
        RE(plan(quick_line, **options))
    assert not documents
    assert quick_line.simulation.exposures == 0


def test_a_psnr_is_not_promised_on_a_board_that_lacks_patterns(RE, documents):
    indices = tuple(range(200))
    line = simulated_beamline(small_board(SIZE, pattern_index=indices), "CAS", parameters=QUIET)
    with pytest.raises(CxgiError, match="has 200 of 256 patterns"):
        RE(fixed(line, pattern_set=PatternSet(SIZE, 100, "natural"), until=EASY))
    assert not documents


def test_no_exposure_waits_for_a_slow_image(RE, documents, quick_line, monkeypatch):
    held = []

    def hang(*_):
        held.append(1)
        time.sleep(2)

    monkeypatch.setattr("cxgi_bluesky.callbacks.live_steering.LiveSteering._make_image", hang)
    RE(choosing(quick_line, 60))
    assert len(held) == 1  # the scan was over before the second image was asked for
