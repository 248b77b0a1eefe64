"""Values that come later than the detector is done: each event has its own, or the exposure has failed."""

from __future__ import annotations

import math
import re

import pytest

from cxgi_bluesky.cli.program import main
from cxgi_bluesky.devices.config.load import load_beamline
from cxgi_bluesky.devices.diagnostics.check import check_beamline
from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.masks.pattern_set import PatternSet
from tests.ioc.faults.books import events, stops
from tests.ioc.waiting import Heard
from tests.patience import eventually

from .conftest import DIODES, scan

LATE_FILE = {
    "stage__x": {"setpoint": "X", "readback": "X:RBV"},
    "stage__y": {"setpoint": "Y", "readback": "Y:RBV"},
    "shutter": {
        "command": "CMD",
        "readback": "STATUS",
        "opened_value": "Open",
        "closed_value": "Closed",
    },
    "object_stage": None,
    "knife": None,
    "source": None,
    "monitor": {"value": "I0", "unit": "pA"},
}
DIODE = {"class": "generic", "acquire": "ACQUIRE", "value": "VALUE"}
SET = PatternSet(32, 4)
MUCH_S = 2.0


@pytest.fixture
def late_line(late, make_line):
    """A beamline over the late IOC; a keyword is a key of the diode."""

    def make(**words):
        return make_line(late.prefix, **LATE_FILE, diode={**DIODE, "spread": "SPREAD", **words})

    return make


def readings(documents):
    """Stream, bucket, sigma and I0 of each event."""
    names = ("diode_current", "diode_sigma", "diode_i0")
    return [(stream, *(data[name] for name in names)) for stream, data in events(documents) if stream != "figures"]


def own(number):
    """What the IOC gives for an acquisition."""
    return (1000.0 + number, 1.0 * number, 2000.0 + number)


@pytest.mark.parametrize(
    ("word", "late_s"), [("VALUE", 0.005), ("VALUE", 0.05), ("VALUE", 0.5), ("SPREAD", 0.05), ("I0", 0.05)]
)
def test_each_event_has_the_readings_of_its_own_exposure(RE, documents, late, late_line, word, late_s):
    late.put(f"{word}:LATE_S", late_s)
    RE(scan(late_line(late_s=5), SET))
    assert stops(documents) == ["success"]
    assert [row[1:] for row in readings(documents)] == [own(n) for n in range(1, 8)]


def test_what_is_late_by_more_is_repeated_and_said_once(RE, documents, late, late_line, caplog):
    late.put("VALUE:LATE_S", MUCH_S)
    RE(scan(late_line(late_s=0.05), PatternSet(32, 2), max_repeats=1, dark_exposures=0, open_exposures=0))
    assert stops(documents) == ["success"]
    rows = readings(documents)
    assert [row[0] for row in rows] == ["failed", "primary"] * 2
    assert all(math.isnan(number) for row in rows for number in row[1:])
    reasons = {data["exposure_fault"] for stream, data in events(documents) if stream == "failed"}
    assert reasons == {"primary: late: LATE:VALUE not updated within late_s 0.05 s after the exposure"}
    assert sum("raise late_s" in record.message for record in caplog.records) == 1


def test_a_value_that_comes_in_the_next_exposure_is_not_taken_for_its_own(RE, documents, late, late_line):
    late.put("VALUE:LATE_S", MUCH_S)

    def in_time_again(name, document):
        if name == "event":  # that of the failed exposure
            late.put("VALUE:LATE_S", 0.0)

    RE.subscribe(in_time_again)
    RE(scan(late_line(late_s=0.5), SET, dark_exposures=0, open_exposures=0))
    rows = readings(documents)
    assert [row[0] for row in rows] == ["failed"] + ["primary"] * 4
    assert [row[1:] for row in rows[1:]] == [own(n) for n in range(2, 6)]


def test_a_dark_reading_that_is_late_is_made_again(RE, documents, late, late_line, monkeypatch):
    late.put("VALUE:LATE_S", MUCH_S)
    diode = (line := late_line(late_s=0.5)).diode
    store = diode._store

    def store_and_be_in_time(*reading):
        store(*reading)
        late.put("VALUE:LATE_S", 0.0)

    monkeypatch.setattr(diode, "_store", store_and_be_in_time)
    RE(scan(line, PatternSet(32, 1), open_exposures=0))
    assert readings(documents) == [("dark", *own(2)), ("primary", *own(3))]


def test_the_same_number_again_is_no_late_one(RE, documents, late, late_line):
    late.put("SAME", 1)
    line = late_line()
    RE(scan(line, SET, open_exposures=0))
    assert {row[1:] for row in readings(documents)} == {(1000.0, 0.0, 2000.0)}
    assert line.diode.arrivals.waited_s < line.diode.arrivals.late_s


def test_records_without_stamps_are_named_once_and_read_as_they_are(RE, documents, late, late_line, caplog):
    late.put("STAMPS", 0)
    line = late_line()
    RE(scan(line, SET))
    assert [row[1:] for row in readings(documents)] == [own(n) for n in range(1, 8)]
    assert line.diode.arrivals.waited_s == 0
    (warning,) = (record.message for record in caplog.records if "no time stamps" in record.message)
    assert "diode: no time stamps from LATE:VALUE, LATE:SPREAD, LATE:I0" in warning


def test_a_tetramm_whose_statistics_are_late(RE, documents, ca, make_line):
    """Each exposure is of another time, and told by its noise: no two of the IOC's readings are the same."""
    ca.put("FAULT:TETRAMM_LATE_S", 0.05)
    monitor = {"value": "TETRAMM:Current2:MeanValue_RBV", "unit": "A"}
    line = make_line(ca.prefix, diode=DIODES["tetramm"], monitor=monitor)
    heard = Heard(ca, "TETRAMM:Current1:MeanValue_RBV")
    RE(scan(line, SET, object_stage=None))
    eventually(lambda: len(heard), 8)  # the first one is of before
    assert [row[1] for row in readings(documents)] == pytest.approx([1e12 * value for value in heard[1:]])
    heard.close()


# ---------------------------------------------------------------- the check


@pytest.fixture
def late_file(late, beamline_file):
    """A beamline file of the late IOC."""
    return lambda changes=LATE_FILE, **words: beamline_file(late.prefix, **changes, diode={**DIODE, **words})


def test_the_check_exposes_only_if_asked_and_says_so(late, late_file, capsys):
    file = str(late_file(late_s=5))
    late.put("VALUE:LATE_S", 0.5)
    assert main(["check", file]) == 0
    assert "no exposure tried" in capsys.readouterr().out
    assert late.get("NUMBER") == 0
    assert main(["check", file, "--expose"]) == 0
    said = capsys.readouterr().out
    assert re.search(r"one exposure of 1 s with the shutter closed, values [1-9]\d* ms after its end", said)
    assert late.get("NUMBER") == 1
    assert late.get("STATUS") == "Closed"


def test_the_check_finds_a_value_that_is_late(late, late_file, capsys):
    late.put("VALUE:LATE_S", MUCH_S)
    assert main(["check", str(late_file(late_s=0.1)), "--expose"]) == 1
    assert "LATE:VALUE not updated within late_s 0.1 s after the exposure" in capsys.readouterr().out


@pytest.mark.parametrize("expose", [False, True])
def test_the_check_finds_records_without_stamps(late, late_file, expose):
    late.put("STAMPS", 0)
    findings = check_beamline(late_file(late_s=0.1), expose=expose).findings
    assert len(findings) == 2
    assert all("has no time stamp: it cannot be told" in finding.what for finding in findings)


def test_the_check_exposes_in_the_dark_alone(late, late_file):
    late.put("CMD", 1)
    report = check_beamline(late_file(), expose=True)
    assert "not closed: no exposure was tried" in str(report)
    assert late.get("NUMBER") == 0


def test_a_text_readback_needs_texts(late_file):
    numbers = {**LATE_FILE, "shutter": {"command": "CMD", "readback": "STATUS"}}
    (finding,) = check_beamline(late_file(numbers)).findings
    assert "LATE:STATUS says Closed, neither open nor closed" in finding.what
    assert "it is a text" in finding.remedy
    with pytest.raises(CxgiError, match=r"LATE:STATUS says 'Closed', a text, .* give its texts"):
        load_beamline(late_file(numbers))
