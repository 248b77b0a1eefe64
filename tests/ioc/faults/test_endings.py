"""Abort, stop and halt while an exposure is under way, and a subscriber that fails."""

from __future__ import annotations

import pytest
from bluesky.utils import RunEngineInterrupted

from cxgi_bluesky.exposures import Exposures
from cxgi_bluesky.journal import Journal, left_over
from tests.cases import long_case

from .books import WHOLE, AtEvent, check_books, check_image, in_exposure, openings_told, rows, stops
from .conftest import resumed, short_scan

SECOND_PATTERN = 3  # opening: the open tile, a pattern, this one
CUT_OFF = {"dark": 1, "open": 1, "primary": 1}


def test_a_scan_without_faults_stores_each_exposure_once(RE, documents, ca, line, truth):
    RE(short_scan(line))
    assert rows(documents) == WHOLE
    check_books(ca, documents)
    assert openings_told(documents) == ca.get("COUNT:OPENINGS") == 6
    check_image(Exposures.from_documents(documents), truth)


@pytest.mark.parametrize(
    ("ending", "status", "figures", "paused"),
    [
        ("abort", "abort", 1, True),
        ("stop", "success", 1, False),
        ("halt", "abort", 0, True),
        long_case("abort", "abort", 1, False),
        long_case("stop", "success", 1, True),
        long_case("halt", "abort", 0, False),
    ],
)
def test_an_ending_in_an_exposure(RE, documents, ca, line, truth, ending, status, figures, paused):
    end = getattr(RE, ending)
    with in_exposure(ca, SECOND_PATTERN, RE.request_pause if paused else end), pytest.raises(RunEngineInterrupted):
        RE(short_scan(line))
    assert ca.get("SHUTTER:STATUS") == "Closed"
    if paused:
        end()
    assert stops(documents) == [status]
    assert rows(documents) == CUT_OFF | ({"figures": figures} if figures else {})
    check_books(ca, documents, interrupted=1)
    assert openings_told(documents) == 2 + figures  # after a halt nothing tells of the interrupted exposure
    check_image(resumed(RE, line, documents), truth)
    check_books(ca, documents, interrupted=1)


def test_a_pause_in_an_exposure_is_closed_and_repeated(RE, documents, ca, line, truth):
    """Twice in one scan, the second time in the repetition of the first."""
    with in_exposure(ca, SECOND_PATTERN, RE.request_pause), pytest.raises(RunEngineInterrupted):
        RE(short_scan(line))
    assert ca.get("SHUTTER:STATUS") == "Closed"
    with in_exposure(ca, SECOND_PATTERN + 1, RE.request_pause), pytest.raises(RunEngineInterrupted):
        RE.resume()
    assert ca.get("SHUTTER:STATUS") == "Closed"
    RE.resume()
    assert rows(documents) == WHOLE
    check_books(ca, documents, interrupted=2)
    assert openings_told(documents) == ca.get("COUNT:OPENINGS") == 8
    check_image(Exposures.from_documents(documents), truth)


class FullDiskError(OSError):
    """What a subscriber raises."""


def fail():
    raise FullDiskError("no space left on device")


def test_a_subscriber_that_fails_between_exposures(RE, documents, ca, line, truth):
    token = RE.subscribe(AtEvent("primary", 2, fail))
    with pytest.raises(FullDiskError):
        RE(short_scan(line))
    RE.unsubscribe(token)
    assert stops(documents) == ["fail"]
    assert rows(documents) == {"dark": 1, "open": 1, "primary": 2, "figures": 1}
    check_books(ca, documents)
    check_image(resumed(RE, line, documents), truth)
    check_books(ca, documents)


class FullDisk:
    """A file that takes so many lines, half of the next one, and then nothing."""

    def __init__(self, file, lines):
        self._file, self._lines = file, lines

    def write(self, text):
        if self._lines <= 0:
            self._file.write(text[: len(text) // 2] if self._lines == 0 else "")
            self._lines -= 1
            fail()
        self._lines -= 1
        return self._file.write(text)

    def __getattr__(self, name):
        return getattr(self._file, name)


@pytest.mark.parametrize(
    ("lines", "stored", "unstored"),
    [
        long_case(2, {}, {"dark": 1}),
        (4, {"dark": 1}, {"interrupted": 1}),
        (7, CUT_OFF, {"interrupted": 1}),
        long_case(12, {"dark": 1, "open": 2, "primary": 4}, {}),
    ],
    ids=["dark event", "open event", "second pattern", "figures"],
)
def test_a_journal_without_space(RE, ca, line, tmp_path, truth, lines, stored, unstored):
    """The exposure that could not be written is the only one that was made in vain; the journal has all others."""
    journal = Journal(tmp_path)

    def on_a_small_disk(name, document):
        journal(name, document)
        if name == "start":
            journal._file = FullDisk(journal._file, lines - 1)

    token = RE.subscribe(on_a_small_disk)
    with pytest.raises(FullDiskError):
        RE(short_scan(line))
    RE.unsubscribe(token)
    journal.close()
    ((_, kept),) = left_over(tmp_path)
    assert rows(kept) == stored
    check_books(ca, kept, **unstored)
    if sum(stored.values()) < 7:
        check_image(resumed(RE, line, kept), truth)
        check_books(ca, kept, **unstored)
