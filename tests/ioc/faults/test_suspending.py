"""The source goes, or the permit, while an exposure is under way; the scan waits, or ends."""

from __future__ import annotations

import pytest

from cxgi_bluesky.devices.shutter import ShutterError
from cxgi_bluesky.measurement.exposures import Exposures
from cxgi_bluesky.session.run_engine import source_suspenders
from tests.beamline_files import GONE
from tests.patience import eventually

from .books import (
    SLOW,
    WHOLE,
    check_books,
    check_image,
    in_exposure,
    openings_told,
    rows,
    stops,
    wait_for_exposure,
)
from .conftest import resumed, short_scan

SECOND_PATTERN = 3
PERMIT = {"source__current": GONE, "source__at_least_ma": GONE, "source__ready": "SHUTTER:PERMIT"}
AWAY = {
    "source": ({}, lambda ca, away: ca.put("SOURCE:CMD", "Off" if away else "On")),
    "permit": (PERMIT, lambda ca, away: ca.put("FAULT:PERMIT", int(away))),
}


@pytest.mark.parametrize("what", AWAY)
def test_a_scan_waits_and_repeats_the_exposure(RE, documents, ca, make_line, truth, what):
    """Twice in one scan: the exposure that was interrupted, and its repetition."""
    changes, be = AWAY[what]
    line = make_line(ca.prefix, source__wait_s=0.0, **changes)
    for suspender in source_suspenders(line.source):
        RE.install_suspender(suspender)

    def away_and_back_twice():
        for opening in (SECOND_PATTERN, SECOND_PATTERN + 1):
            wait_for_exposure(ca, opening)
            be(ca, True)
            try:
                eventually(lambda: (ca.get("SHUTTER:STATUS"), suspended(RE)), ("Closed", True))
                ca.put("TIME_SCALE", 0.0)
                eventually(lambda: ca.get("ACQUIRE"), 0)
                assert ca.get("COUNT:OPENINGS") == opening
                ca.put("TIME_SCALE", SLOW)
            finally:
                be(ca, False)  # or the scan would wait for good

    with in_exposure(ca, SECOND_PATTERN, away_and_back_twice):
        RE(short_scan(line))
    RE.clear_suspenders()
    assert stops(documents) == ["success"]
    assert rows(documents) == WHOLE
    check_books(ca, documents, interrupted=2)
    assert openings_told(documents) == ca.get("COUNT:OPENINGS")
    check_image(Exposures.from_documents(documents), truth)


def suspended(RE):
    return any(suspender.tripped for suspender in RE.suspenders)


def test_a_permit_withdrawn_in_an_exposure_ends_the_scan(RE, documents, ca, line, truth):
    with (
        in_exposure(ca, SECOND_PATTERN, lambda: ca.put("FAULT:PERMIT", 1)),
        pytest.raises(ShutterError, match="closed by itself during the exposure, which is not stored"),
    ):
        RE(short_scan(line))
    assert rows(documents) == {"dark": 1, "open": 1, "primary": 1, "figures": 1}
    check_books(ca, documents, interrupted=1)
    assert openings_told(documents) == ca.get("COUNT:OPENINGS") == 3
    ca.put("FAULT:PERMIT", 0)
    check_image(resumed(RE, line, documents), truth)
    check_books(ca, documents, interrupted=1)


def test_without_a_permit_nothing_is_exposed(RE, documents, ca, line):
    ca.put("FAULT:PERMIT", 1)
    with pytest.raises(ShutterError, match=r"may not open: .*SHUTTER:PERMIT says Denied"):
        RE(short_scan(line))
    assert rows(documents) == {"dark": 1, "figures": 1}
    check_books(ca, documents)
