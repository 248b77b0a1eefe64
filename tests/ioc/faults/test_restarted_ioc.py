"""The IOC dies in an exposure and is started again; the same session goes on."""

from __future__ import annotations

import signal

import pytest

from tests.ioc.devices.conftest import HASTY
from tests.ioc.serving import SlowClient

from .books import SAME, SET, WHOLE, check_books, in_exposure, openings_told, rows, run_of, stops

QUIET = ("--object", "CAS", "--seed", "7", "--stage-rms-um", "0", "--drift-rms", "0")
SECOND_PATTERN = 3
CUT_OFF = {"dark": 1, "open": 1, "primary": 1, "figures": 1}
REST = {**WHOLE, "primary": 3}


@pytest.mark.long
def test_an_ioc_that_dies_in_an_exposure_and_comes_back(own_ioc, scanner, beamline_file, truth):
    ioc = own_ioc(*QUIET)
    ca = SlowClient(ioc)
    process = scanner(beamline_file(ioc.prefix, **HASTY), ioc.environment)
    process.ask("session")
    with in_exposure(ca, SECOND_PATTERN, lambda: ioc.end(signal.SIGKILL), then="gone") as opening:
        told = process.ask("scan", opening)
    assert told["error"].startswith("ShutterError: shutter ALARM: it could not be closed (OWN:SHUTTER:")
    assert "second barrier second_barrier FAILED too" in told["error"]
    assert told["state"] == "idle"
    assert rows(process.documents) == CUT_OFF
    assert stops(process.documents) == ["fail"]

    ca = SlowClient(own_ioc(*QUIET, "--port", str(ioc.info["udp_port"])))
    uid = process.documents[0][1]["uid"]
    refused = process.ask("resume_scan", uid)  # waits until the IOC answers again
    assert refused["error"].startswith("ShutterError: shutter does not open: it could not be closed")
    assert ca.get("COUNT:MOVES") == 0
    assert process.ask("reset_alarm")["error"] == ""
    told = process.ask("resume_scan", uid)
    assert told["error"] == ""
    rest = run_of(process.documents, told["result"][0])
    assert rows(rest) == REST
    check_books(ca, rest)  # this IOC has counted from its start
    assert openings_told(rest) == ca.get("COUNT:OPENINGS")
    image = process.ask("image", told["result"][0])
    assert image["uids"] == [uid, told["result"][0]]
    assert sorted(image["patterns"]) == sorted(truth)
    assert image["buckets"] == pytest.approx({str(k): truth[k] for k in SET.pattern_index}, rel=SAME)
