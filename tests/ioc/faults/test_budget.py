"""The budget of open seconds, against those that the IOC counted."""

from __future__ import annotations

from cxgi_bluesky.measurement.exposures import Exposures
from cxgi_bluesky.plans import adaptive_scan

from .books import EXPOSURE_S, SET, check_books, events, openings_told, rows
from .conftest import resumed, short_scan

BUDGET_S, ONE_S = 2.5, 1.0  # half a second by which the machine is late spends no more than is left


def test_the_iocs_open_seconds_keep_to_the_budget(RE, documents, ca, line):
    for name in ("STAGE:X.VELO", "STAGE:Y.VELO"):
        ca.put(name, 1e5)
    ca.put("TIME_SCALE", 1.0)
    RE(short_scan(line, exposure_s=ONE_S, max_open_s=BUDGET_S))
    (stop,) = (d for name, d in documents if name == "stop")
    assert stop["exit_status"] == "success"
    assert "exposure budget" in stop["reason"]
    check_books(ca, documents)
    assert openings_told(documents) == ca.get("COUNT:OPENINGS")
    lit = ca.get("COUNT:EXPOSURES")
    assert 1 <= lit <= BUDGET_S / ONE_S
    assert lit * ONE_S <= ca.get("COUNT:OPEN_S") <= BUDGET_S
    assert events(documents)[-1][1]["exposure_open_s"] <= BUDGET_S
    ca.put("TIME_SCALE", 0.0)
    whole = resumed(RE, line, documents, max_open_s=60.0)
    assert set(whole.streams["primary"]) == set(SET.pattern_index.tolist())
    check_books(ca, documents)
    assert rows(documents)["primary"] == 4


def test_a_scan_that_chooses_its_patterns_ends_when_they_are_enough(RE, documents, ca, line):
    count = line.board.pattern_count
    settings = {"exposure_s": EXPOSURE_S, "open_exposures": 1, "dark_exposures": 1, "incident_exposures": 0}
    settings |= {"validation": 20, "until": {"psnr_db": 1.0}, "metal_exposures": 0}
    RE(adaptive_scan(line.stage, line.shutter, line.diode, count=count, **settings))
    (stop,) = (d for name, d in documents if name == "stop")
    assert stop["exit_status"] == "success"
    assert openings_told(documents) == ca.get("COUNT:OPENINGS")
    assert ca.get("SHUTTER:STATUS") == "Closed"
    scanned = Exposures.from_documents(documents)
    assert len(scanned) + len(scanned.streams["validation"]) <= count
    assert stop["reason"].startswith("good enough") or len(scanned) + len(scanned.streams["validation"]) == count
