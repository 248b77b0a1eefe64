"""Abort, stop and halt while an exposure is under way, and a subscriber that fails."""

from __future__ import annotations

import pytest
from bluesky.utils import RunEngineInterrupted

from cxgi_bluesky.exposures import Exposures

from .books import SET, WHOLE, check_books, check_image, events, in_exposure, openings_told, rows, stops
from .conftest import short_scan

THIRD_PATTERN = 4  # opening: the open tile, two patterns, this one


def test_a_scan_without_faults_stores_each_exposure_once(RE, documents, ca, line, truth):
    RE(short_scan(line))
    assert rows(documents) == WHOLE
    check_books(ca, documents)
    assert openings_told(documents) == ca.get("COUNT:OPENINGS")
    check_image(Exposures.from_documents(documents), truth)


@pytest.mark.parametrize("ending", ["abort", "stop", "halt"])
@pytest.mark.parametrize("paused", [True, False], ids=["paused", "running"])
def test_an_ending_in_an_exposure(RE, documents, ca, line, slowly, truth, ending, paused):
    end = getattr(RE, ending)
    with in_exposure(ca, THIRD_PATTERN, RE.request_pause if paused else end):
        with pytest.raises(RunEngineInterrupted):
            RE(short_scan(line))
    assert ca.get("SHUTTER:STATUS") == "Closed"
    if paused:
        end()
    check_books(ca, documents, interrupted=1)
    print(stops(documents), rows(documents), openings_told(documents))
