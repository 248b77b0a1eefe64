from __future__ import annotations

import math

import pytest

from cxgi_bluesky.masks.pattern_set import PatternSet
from cxgi_bluesky.measurement.exposures import Exposures
from cxgi_bluesky.measurement.measurement import Measurement
from cxgi_bluesky.measurement.outliers import NOT_A_NUMBER
from tests.patience import PATIENCE_S

from .conftest import DIODES, scan


def triggered(diode):
    diode.trigger().wait(timeout=PATIENCE_S)
    return diode.current.get()


@pytest.fixture
def bright(ca):
    """The open beam: shutter open, on an open tile."""
    ca.put("SHUTTER:CMD", "Open")


def test_the_bucket_is_the_value_in_pa(ca, line, bright):
    bucket = triggered(line.diode)
    assert bucket == pytest.approx(ca.get("VALUE"))
    assert line.diode.sigma.get() == pytest.approx(ca.get("SPREAD"))
    assert line.diode.i0.get() == pytest.approx(ca.get("I0:VALUE"))
    assert bucket > 0


def test_the_exposure_time_reaches_the_detector(ca, line, bright):
    line.diode.exposure_s.put(0.25)
    triggered(line.diode)
    assert ca.get("EXPOSURE_S") == 0.25
    ca.put("EXPOSURE_S", 3.0)
    line.diode.stage()
    triggered(line.diode)
    line.diode.unstage()
    assert ca.get("EXPOSURE_S") == 0.25


@pytest.mark.parametrize(("fault", "overload"), [("nan", 0), ("overload", 1)])
def test_what_could_not_be_measured_is_nan_and_says_why(ca, line, bright, fault, overload):
    ca.put("FAULT:READING", fault)
    assert math.isnan(triggered(line.diode))
    assert math.isnan(line.diode.sigma.get())
    assert (line.diode.overload.get(), line.diode.repeats.get()) == (overload, 0)


def test_a_reading_that_fails_in_a_scan_is_left_out_of_the_picture(RE, documents, ca, line):
    def fail(name, document):
        if name == "event" and document["data"].get("pattern_index", -1) >= 0 and document["seq_num"] == 5:
            ca.put("FAULT:READINGS", 6)  # two exposures, each made three times
            ca.put("FAULT:READING", "nan")

    RE.subscribe(fail)
    RE(scan(line, PatternSet(32, 24), object_stage=None))
    measured = Exposures.from_documents(documents)
    assert len(measured) == 24
    reasons = Measurement.from_exposures(measured).source["left_out_because"]
    assert {reason: len(left_out) for reason, left_out in reasons.items()} == {NOT_A_NUMBER: 2}


def test_an_exposure_that_was_stopped_is_forgotten(ca, line, bright):
    ca.put("TIME_SCALE", 1.0)
    line.diode.exposure_s.put(0.5)
    first = line.diode.trigger()
    line.diode.stop()
    line.diode.exposure_s.put(0.1)
    bucket = triggered(line.diode)
    assert first.exception(timeout=PATIENCE_S) is None
    assert bucket == pytest.approx(ca.get("VALUE"))


# ---------------------------------------------------------------- Keithley
@pytest.fixture
def keithley(ca, make_line):
    ca.put("KEITHLEY:rangeSet", "2 nA")
    ca.put("KEITHLEY:zeroCheckSet", "On")
    diode = make_line(ca.prefix, diode=DIODES["keithley"]).diode
    diode.stage()
    yield diode
    if diode._staged.value == "yes":
        diode.unstage()
    ca.put("KEITHLEY:zeroCheckSet", "Off")


def test_a_keithley_reads_on_demand_and_all_is_put_back(ca, keithley, bright):
    assert ca.get("KEITHLEY:read.SCAN") == "Passive"
    assert ca.get("KEITHLEY:zeroCheckSet") == "Off"
    ca.put("ACQUIRE", 1)
    assert triggered(keithley) == pytest.approx(ca.get("VALUE"), rel=0.05)
    assert 0 < keithley.sigma.get() < 0.1 * keithley.current.get()
    keithley.unstage()
    assert ca.get("KEITHLEY:zeroCheckSet") == "On"


def test_a_keithley_takes_the_readings_that_fit_into_the_exposure(ca, keithley, bright):
    ca.put("COUNT:RESET", 1)
    keithley.exposure_s.put(0.5)
    triggered(keithley)
    assert ca.get("COUNT:EXPOSURES") == 5


def test_an_overload_is_repeated_on_the_next_range(ca, keithley, bright):
    ca.put("FAULT:READINGS", 1)
    ca.put("FAULT:READING", "overload")
    assert math.isfinite(triggered(keithley))
    assert (keithley.repeats.get(), keithley.range.get(), keithley.overload.get()) == (1, 1, 0)
    keithley.unstage()
    assert ca.get("KEITHLEY:rangeSet") == "2 nA"


def test_repeats_are_bounded(ca, keithley, bright):
    ca.put("FAULT:READING", "nan")
    assert math.isnan(triggered(keithley))
    assert (keithley.repeats.get(), keithley.range.get(), keithley.overload.get()) == (2, 2, 0)


# ---------------------------------------------------------------- the others
@pytest.mark.parametrize("kind", ["tetramm", "scaler"])
def test_the_other_detectors_read_the_same_current(ca, make_line, bright, kind):
    diode = make_line(ca.prefix, diode=DIODES[kind]).diode
    ca.put("ACQUIRE", 1)
    diode.stage()
    try:
        assert triggered(diode) == pytest.approx(ca.get("VALUE"), rel=0.05)
    finally:
        diode.unstage()


def test_a_tetramm_at_full_scale_goes_to_its_other_range(ca, make_line, bright):
    ca.put("TETRAMM:Range", 1)
    diode = make_line(ca.prefix, diode=DIODES["tetramm"]).diode
    diode.stage()
    try:
        ca.put("FAULT:READINGS", 1)
        ca.put("FAULT:READING", "overload")
        assert math.isfinite(triggered(diode))
        assert (diode.repeats.get(), diode.range.get()) == (1, 0)
    finally:
        diode.unstage()
    assert "nA" in str(ca.get("TETRAMM:Range"))


def test_a_tetramm_that_has_ended_at_once_has_ended(ca, make_line, monkeypatch):
    detector = make_line(ca.prefix, diode=DIODES["tetramm"]).diode.detector
    monkeypatch.setattr(detector.acquire, "put", lambda *_, **__: detector._acquire_changed(value=0, old_value=1))
    detector.trigger().wait(timeout=PATIENCE_S)
