"""Readings that are overloaded, no number, or lit unlike the others: for fewer readings than the repeats, and more."""

from __future__ import annotations

import pytest

from cxgi_bluesky.measurement.exposures import Exposures
from cxgi_bluesky.measurement.measurement import Measurement

from .books import WHOLE, AtEvent, check_books, check_image, events, openings_told, rows, stops
from .conftest import resumed, short_scan

LATER = 3  # events of patterns before the fault: a dip is told from four exposures
REASONS = {"nan": "not a number", "overload": "overload", "dip": "I0 "}


def fault(ca, kind, readings):
    def begin():
        ca.put("FAULT:READINGS", readings)
        ca.put("FAULT:READING", kind)

    return begin


def reasons(documents):
    return [data["exposure_fault"] for stream, data in events(documents) if stream == "failed"]


@pytest.mark.parametrize("kind", REASONS)
@pytest.mark.parametrize("readings", [1, 2])
def test_fewer_than_the_repeats(RE, documents, ca, line, truth, kind, readings):
    RE.subscribe(AtEvent("primary", LATER, fault(ca, kind, readings)))
    RE(short_scan(line))
    assert stops(documents) == ["success"]
    assert rows(documents) == {**WHOLE, "failed": readings}
    assert all(reason.startswith(f"primary: {REASONS[kind]}") for reason in reasons(documents))
    check_books(ca, documents)
    assert openings_told(documents) == ca.get("COUNT:OPENINGS")
    check_image(Exposures.from_documents(documents), truth)


@pytest.mark.parametrize("kind", REASONS)
def test_more_than_the_repeats(RE, documents, ca, line, truth, kind):
    """The pattern is left out of the image, and a resumed scan measures it alone."""
    RE.subscribe(AtEvent("primary", LATER, fault(ca, kind, 3)))
    RE(short_scan(line))
    assert stops(documents) == ["success"]
    assert rows(documents) == {**WHOLE, "failed": 2}
    check_books(ca, documents)
    measured = Exposures.from_documents(documents)
    (left_out,) = set(measured.streams["primary"]) - set(Measurement.from_exposures(measured).pattern_index.tolist())
    whole = resumed(RE, line, documents)
    assert rows(documents) == {"dark": 2, "open": 4, "primary": 5, "failed": 2, "figures": 2}
    check_books(ca, documents)
    assert [data["pattern_index"] for stream, data in events(documents) if stream == "primary"][-1] == left_out
    check_image(whole, truth)


def test_twice_in_one_scan(RE, documents, ca, line, truth):
    RE.subscribe(AtEvent("primary", 1, fault(ca, "overload", 2)))
    RE.subscribe(AtEvent("primary", 3, fault(ca, "nan", 1)))
    RE(short_scan(line))
    assert rows(documents) == {**WHOLE, "failed": 3}
    assert reasons(documents) == ["primary: overload"] * 2 + ["primary: not a number"]
    check_books(ca, documents)
    check_image(Exposures.from_documents(documents), truth)


def test_the_beam_gone_for_good(RE, documents, ca, line, truth):
    """Without a source in the beamline file nothing waits: all is exposed three times in vain, told, and not used."""
    RE.subscribe(AtEvent("primary", LATER, lambda: ca.put("SOURCE:CMD", "Off")))
    RE(short_scan(line))
    assert rows(documents) == {**WHOLE, "failed": 4}  # a pattern and the last open exposure, twice each
    assert all("I0" in reason for reason in reasons(documents))
    check_books(ca, documents)
    measured = Measurement.from_exposures(Exposures.from_documents(documents))
    assert len(measured.pattern_index) == LATER
    assert measured.source["open_left_out"] == 1
    ca.put("SOURCE:CMD", "On")
    check_image(resumed(RE, line, documents), truth)
    check_books(ca, documents)


def test_an_open_exposure_in_next_to_no_light_is_not_divided_by(RE, documents, ca, line):
    RE(short_scan(line))
    sound = Measurement.from_documents(documents)
    faint = list(documents)
    place, (_, event) = next(
        (n, d) for n, d in reversed(list(enumerate(faint))) if d[0] == "event" and "diode_i0" in d[1]["data"]
    )
    faint[place] = ("event", {**event, "data": {**event["data"], "diode_i0": 1e-4, "diode_current": 1e-3}})
    measured = Measurement.from_documents(faint)
    assert measured.coefficient == pytest.approx(sound.coefficient, rel=0.01, abs=0.01)
    assert measured.source["open_left_out"] == 1
