"""Abort, stop and halt while an exposure is under way, and a subscriber that fails."""

from __future__ import annotations

import pytest
from bluesky.utils import RunEngineInterrupted

from cxgi_bluesky.catalog import journal
from cxgi_bluesky.catalog.recovery import union
from cxgi_bluesky.measurement.exposures import Exposures
from cxgi_bluesky.measurement.per_run import PerRun
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


def a_small_disk(lines, write=journal._write):
    """A disk that takes so many lines, half of the next one, and then nothing."""
    left = iter(range(lines, -1, -1))

    def write_while_there_is_space(file, line):
        space = next(left, -1)
        write(file, line if space > 0 else line[: len(line) // 2] if space == 0 else b"")
        if space <= 0:
            fail()

    return write_while_there_is_space


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
def test_a_journal_without_space(RE, ca, line, tmp_path, truth, lines, stored, unstored, monkeypatch):
    """The exposure that could not be written is the only one that was made in vain; the journal has all others."""
    monkeypatch.setattr(journal, "_write", a_small_disk(lines))
    token = RE.subscribe(PerRun(lambda start: journal.Journal(tmp_path, start)))
    with pytest.raises(FullDiskError):
        RE(short_scan(line))
    RE.unsubscribe(token)
    (path,) = journal.journal_files(tmp_path)
    kept = union(journal.read_journal(path).documents, [])
    assert rows(kept) == stored
    check_books(ca, kept, **unstored)
    if sum(stored.values()) < 7:
        check_image(resumed(RE, line, kept), truth)
        check_books(ca, kept, **unstored)
