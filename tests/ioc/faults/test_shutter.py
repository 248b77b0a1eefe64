"""A shutter that does not open, does not close, closes by itself or is slow."""

from __future__ import annotations

import pytest

from cxgi_bluesky.devices.shutter import ShutterError
from cxgi_bluesky.measurement.exposures import Exposures
from tests.patience import eventually

from .books import WHOLE, AtEvent, check_books, check_image, in_exposure, openings_told, rows, stops
from .conftest import resumed, short_scan

SECOND_PATTERN = 3
CUT_OFF = {"dark": 1, "open": 1, "primary": 1, "figures": 1}


def test_one_that_fails_to_open(RE, documents, ca, line, hasten, truth):
    hasten(line)
    token = RE.subscribe(AtEvent("primary", 1, lambda: ca.put("FAULT:SHUTTER_FAIL", "open")))
    with pytest.raises(ShutterError, match=r"did not open within 0\.6 s .*closed again"):
        RE(short_scan(line))
    RE.unsubscribe(token)
    assert rows(documents) == CUT_OFF
    check_books(ca, documents)
    assert openings_told(documents) == ca.get("COUNT:OPENINGS") + 1  # "Failed" is not closed: it counts
    ca.put("FAULT:SHUTTER_FAIL", "none")
    check_image(resumed(RE, line, documents), truth)
    check_books(ca, documents)


def test_one_that_fails_to_close(RE, documents, ca, line, hasten, truth):
    """The second barrier takes the beam away; nothing is opened any more until the alarm is reset."""

    def fail():
        hasten(line)
        ca.put("FAULT:SHUTTER_FAIL", "close")

    with (
        in_exposure(ca, SECOND_PATTERN, fail, then="runs out"),
        pytest.raises(ShutterError, match=r"ALARM: it did not close .*second_barrier has stopped the beam"),
    ):
        RE(short_scan(line))
    assert (ca.get("SHUTTER:STATUS"), ca.get("SHUTTER:ALARM"), ca.get("SAFETY:STATUS")) == ("Failed", 1, "Closed")
    assert rows(documents) == CUT_OFF
    assert stops(documents) == ["fail"]
    ca.put("FAULT:SHUTTER_FAIL", "none")
    ca.put("SHUTTER:CMD", "Close")
    with pytest.raises(ShutterError, match="does not open: it did not close"):
        RE(short_scan(line))
    assert ca.get("COUNT:OPENINGS") == SECOND_PATTERN
    line.shutter.reset_alarm()
    ca.put("SAFETY:CMD", "Open")  # people do that
    check_books(ca, documents, interrupted=1)
    check_image(resumed(RE, line, documents), truth)
    check_books(ca, documents, interrupted=1)


def test_one_whose_barrier_fails_too(RE, documents, ca, make_line):
    barrier = {"shutter__second_barrier__closed_value": "Failed", "shutter__second_barrier__closing_s": 0.2}
    line = make_line(ca.prefix, shutter__closing_s=0.2, **barrier)
    with (
        in_exposure(ca, SECOND_PATTERN, lambda: ca.put("FAULT:SHUTTER_FAIL", "close"), then="runs out"),
        pytest.raises(ShutterError, match=r"second_barrier FAILED too .*stop the beam by hand now"),
    ):
        RE(short_scan(line))
    assert rows(documents) == CUT_OFF
    assert ca.get("COUNT:OPENINGS") == SECOND_PATTERN


def test_the_iocs_timer_closes_it_in_an_exposure(RE, documents, ca, make_line, truth):
    line = make_line(ca.prefix, shutter__max_open_s=0.3)
    closed = []

    def wait():
        eventually(lambda: ca.get("SHUTTER:TIMED_OUT"), 1)
        closed.append((ca.get("SHUTTER:STATUS"), ca.get("ACQUIRE")))

    with in_exposure(ca, 1, wait, then="runs out"), pytest.raises(ShutterError, match="closed by itself"):
        RE(short_scan(line))
    assert closed == [("Closed", 1)]
    assert rows(documents) == {"dark": 1, "figures": 1}
    check_books(ca, documents, interrupted=1)
    check_image(resumed(RE, line, documents), truth)
    check_books(ca, documents, interrupted=1)


def test_a_slow_one_is_waited_for(RE, documents, ca, line, truth):
    ca.put("FAULT:SHUTTER_DELAY_S", 0.1)
    RE(short_scan(line))
    assert rows(documents) == WHOLE
    check_books(ca, documents)
    assert openings_told(documents) == ca.get("COUNT:OPENINGS")
    check_image(Exposures.from_documents(documents), truth)


def test_one_that_becomes_too_slow_ends_without_beam(RE, documents, ca, line, hasten):
    def slow():
        hasten(line)
        ca.put("FAULT:SHUTTER_DELAY_S", 2.0)

    with (
        in_exposure(ca, SECOND_PATTERN, slow, then="runs out"),
        pytest.raises(ShutterError, match=r"did not close within 0\.6 s"),
    ):
        RE(short_scan(line))
    assert ca.get("SAFETY:STATUS") == "Closed"
    assert rows(documents) == CUT_OFF
    eventually(lambda: ca.get("SHUTTER:STATUS"), "Closed")
    assert ca.get("COUNT:OPENINGS") == SECOND_PATTERN
