"""A stage that is stuck, ends beside its tile, loses steps or is pushed."""

from __future__ import annotations

import threading

import pytest
from bluesky.utils import RunEngineInterrupted

from cxgi_bluesky.devices.positions import NotArrivedError, PositionError
from cxgi_bluesky.measurement.exposures import Exposures
from tests.ioc.devices.conftest import BOTH_AXES
from tests.patience import PATIENCE_S, eventually

from .books import (
    SAME,
    WHOLE,
    AtEvent,
    check_books,
    check_image,
    events,
    in_exposure,
    openings_told,
    rows,
    stops,
)
from .conftest import resumed, short_scan

pytestmark = pytest.mark.parametrize("axes", BOTH_AXES)
SECOND_PATTERN = 3
CUT_OFF = {"dark": 1, "open": 1, "primary": 1, "figures": 1}
BESIDE_UM = 100.0  # the window is 20 um


def test_one_that_is_stuck(RE, documents, ca, make_line, truth):
    line = make_line(ca.prefix, stage__move_timeout_s=0.5)
    token = RE.subscribe(AtEvent("primary", 1, lambda: ca.put("FAULT:STUCK", 1)))
    with pytest.raises(NotArrivedError, match=r"^stage_[xy] .* has not arrived"):
        RE(short_scan(line))
    RE.unsubscribe(token)
    assert stops(documents) == ["fail"]
    assert documents[-1][1]["reason"].startswith("stage_"), "not the object's, which is stuck too when it is put back"
    assert rows(documents) == CUT_OFF
    check_books(ca, documents)
    ca.put("FAULT:STUCK", 0)
    check_image(resumed(RE, line, documents), truth)
    check_books(ca, documents)


def short(ca, moves):
    def begin():
        ca.put("FAULT:SHORT_MOVES", moves)
        ca.put("FAULT:SHORT_UM", BESIDE_UM)

    return begin


def test_a_move_that_ends_beside_its_tile_is_made_again(RE, documents, ca, line, truth):
    """Twice in one scan."""
    for at in (1, 2):
        RE.subscribe(AtEvent("primary", at, short(ca, 1)))
    RE(short_scan(line))
    assert rows(documents) == WHOLE
    assert events(documents)[-1][1]["exposure_moves_repeated"] == 2
    check_books(ca, documents)
    check_image(Exposures.from_documents(documents), truth)


def test_moves_that_all_end_beside_their_tile_end_the_scan(RE, documents, ca, line, truth):
    token = RE.subscribe(AtEvent("primary", 1, short(ca, 0)))
    with pytest.raises(PositionError, match=r"100\.0 um off \(window 20 um\)|um off"):
        RE(short_scan(line))
    RE.unsubscribe(token)
    assert rows(documents) == CUT_OFF
    assert events(documents)[-1][1]["exposure_moves_repeated"] == 2
    check_books(ca, documents)
    ca.put("FAULT:SHORT_UM", 0.0)
    check_image(resumed(RE, line, documents), truth)
    check_books(ca, documents)


@pytest.mark.parametrize("pushes", [1, 2])
def test_one_that_is_pushed_in_an_exposure_goes_back_and_repeats_it(RE, documents, ca, line, truth, pushes):
    with in_exposure(ca, SECOND_PATTERN, push(ca), then="runs out", times=pushes):
        RE(short_scan(line))
    assert stops(documents) == ["success"]
    assert rows(documents) == {**WHOLE, "failed": pushes}
    check_books(ca, documents)
    assert openings_told(documents) == ca.get("COUNT:OPENINGS")
    check_image(Exposures.from_documents(documents), truth)


def test_one_that_is_pushed_each_time_ends_the_scan(RE, documents, ca, line, truth):
    with (
        in_exposure(ca, SECOND_PATTERN, push(ca), then="runs out", times=3),
        pytest.raises(PositionError, match="check the stage, the exposure is not used"),
    ):
        RE(short_scan(line))
    assert rows(documents) == {**CUT_OFF, "failed": 3}
    check_books(ca, documents)
    check_image(resumed(RE, line, documents), truth)
    check_books(ca, documents)


def push(ca):
    """Another client moves an axis."""
    return lambda: ca.put("STAGE:X", 1.0)


def test_steps_that_the_readback_does_not_see_are_not_noticed_by_the_scan(RE, documents, ca, line, truth):
    """They are in the images' data: the open tile before and after the scan no longer agree, nor do the buckets."""
    RE.subscribe(AtEvent("primary", 2, lambda: ca.put("FAULT:LOST_UM", line.board.tile_pitch_um)))
    RE(short_scan(line))
    assert stops(documents) == ["success"]
    assert rows(documents) == WHOLE
    check_books(ca, documents)
    measured = Exposures.from_documents(documents)
    buckets = {k: exposure.bucket for k, exposure in measured.streams["primary"].items()}
    wrong = [k for k in truth if buckets[k] != pytest.approx(truth[k], rel=SAME)]
    assert wrong == list(buckets)[2:]
    before, after = (exposure.bucket for exposure in measured.streams["open"].values())
    assert abs(after / before - 1) > 0.05


@pytest.mark.parametrize("moving", ["stage", "object"])
def test_a_pause_in_a_move_is_no_error(RE, documents, ca, line, truth, moving):
    """The axes are stopped where they are; the move is made again when the plan goes on."""
    motor = {"stage": "STAGE:X", "object": "OBJECT:X"}[moving]
    ca.put("TIME_SCALE", 0.2)

    def pause():
        eventually(lambda: ca.get(f"{motor}.MOVN"), 1)
        RE.request_pause()

    thread = threading.Thread(target=pause, daemon=True)
    thread.start()
    with pytest.raises(RunEngineInterrupted):
        RE(short_scan(line, exposure_s=0.01, object_stage=line.object_stage, incident_exposures=1))
    thread.join(PATIENCE_S)
    assert ca.get(f"{motor}.MOVN") == 0
    ca.put("TIME_SCALE", 0.0)
    RE.resume()
    assert stops(documents) == ["success"]
    assert rows(documents) == {**WHOLE, "incident": 1}
    check_books(ca, documents)
    assert ca.get("OBJECT:X.RBV") == pytest.approx(0, abs=1e-3)
