"""How long a scan will go on, against one whose stage has a speed."""

from __future__ import annotations

import io
import math
from statistics import median

import pytest

from cxgi_bluesky.callbacks import ScanProgress
from cxgi_bluesky.callbacks.time_left import TimeLeft, format_duration
from cxgi_bluesky.devices.simulated.beamline import simulated_beamline
from cxgi_bluesky.measurement.documents import EventRows, Row
from tests.conftest import QUIET, small_board, small_scan

EXPOSURE_S, SPEED_MM_S = 1.0, 0.5  # the all-open tile is some seconds away, a neighbour 0.4 s


def timed(documents):
    """The rows of a run, with the times of a stage that moves at that speed."""
    rows, now, place = EventRows(), 1000.0, None
    for name, document in documents:
        for row in rows(name, document):
            here = (row.data.get("stage_x"), row.data.get("stage_y"))
            if None in here:  # figures of the whole run
                continue
            now += EXPOSURE_S + math.dist(here, place or here) / SPEED_MM_S
            place = here
            yield row._replace(time=now)


def scanned(RE, documents, **options):
    line = simulated_beamline(small_board(16), "CAS", parameters=QUIET)
    options = {"open_every": 16, "dark_exposures": 0, "object_stage": line.object_stage, **options}
    RE(small_scan(line, 128, exposure_s=EXPOSURE_S, **options))
    return documents[0][1], list(timed(documents))


@pytest.mark.parametrize("options", [{}, {"path": "snake"}, {"validation": 12}, {"open_every": 0, "open_exposures": 0}])
def test_time_left_counts_the_exposures_of_the_open_tile_and_the_ways_to_them(RE, documents, options):
    start, rows = scanned(RE, documents, **options)
    left, end, off = TimeLeft(start), rows[-1].time, []
    for row in rows:
        left.take(row)
        if 10 <= left.done < 128:
            off.append(abs(left.seconds() / (end - row.time) - 1))
            yet = sum(EXPOSURE_S for later in rows if later.time > row.time)
            assert left.open_seconds() == pytest.approx(yet)
    assert median(off) < 0.1
    assert (left.seconds(), left.open_seconds(), left.done) == (0, 0, 128)


def test_it_is_closer_than_by_the_patterns_alone(RE, documents):
    start, rows = scanned(RE, documents)
    left, end, off, off_by_patterns = TimeLeft(start), rows[-1].time, [], []
    began = next(row.time for row in rows if row.stream == "primary")
    for row in rows:
        left.take(row)
        if 10 <= left.done < 128:
            by_patterns = (row.time - began) / (left.done - 1) * (128 - left.done)
            for each, seconds in ((off, left.seconds()), (off_by_patterns, by_patterns)):
                each.append(abs(seconds / (end - row.time) - 1))
    assert median(off) < 0.5 * median(off_by_patterns)


def test_a_pause_does_not_make_the_rest_longer(RE, documents):
    start, rows = scanned(RE, documents)
    left, end = TimeLeft(start), rows[-1].time + 3600
    for number, row in enumerate(rows[:90]):
        left.take(row._replace(time=row.time + 3600 * (number > 40)))
    assert left.seconds() == pytest.approx(end - rows[89].time - 3600, rel=0.1)


def test_nothing_is_said_before_anything_is_known():
    start = {"uid": "1", "num_points": 8, "cxgi": {"fields": {"pattern_index": "k"}, "exposure_s": 2.0}}
    left = TimeLeft(start)
    assert (left.seconds(), left.open_seconds()) == (None, None)
    left.take(Row("primary", 1, {"k": 0}, 10.0))
    assert (left.seconds(), left.open_seconds()) == (None, 14.0)
    left.take(Row("primary", 2, {"k": 1}, 12.5))
    assert left.seconds() == pytest.approx(6 * 2.5)


def test_a_repeated_pattern_is_no_progress():
    left = TimeLeft({"uid": "1", "num_points": 8, "cxgi": {"fields": {"pattern_index": "k"}}})
    for number in range(3):
        left.take(Row("primary", number, {"k": 5}, 10.0 + number))
    assert (left.done, left.seconds()) == (1, 7.0)


@pytest.mark.parametrize(
    "start", [{"uid": "1"}, {"uid": "1", "cxgi": 3}, {"uid": "1", "plan_args": [], "cxgi": {"validation": 7}}]
)
def test_a_start_document_of_others_says_nothing(start):
    left = TimeLeft(start)
    left.take(Row("primary", 1, {}, 10.0))
    assert left.seconds() is None


def test_the_bar_has_the_time_left_of_the_scan(RE, documents):
    """At the last pattern, the exposures of the open tile at the end are still to come."""
    start, rows = scanned(RE, documents)
    text, left = io.StringIO(), TimeLeft(start)
    bar = ScanProgress(text)
    times = iter(rows)
    for name, document in documents:
        if name == "event":
            row = next(times)
            left.take(row)
            bar(name, {**document, "time": row.time})
            if left.done == 128:
                break
        else:
            bar(name, document)
    run = next(iter(bar._router._runs.values()))
    run._bar.refresh()
    shown = text.getvalue().rpartition("\r")[2]
    assert "128/128" in shown
    assert f"<{run._bar.format_interval(left.seconds())}," in shown
    assert left.seconds() > 4 * EXPOSURE_S


@pytest.mark.parametrize(("seconds", "text"), [(12.4, "12 s"), (450, "7 min 30 s"), (7500, "2 h 5 min")])
def test_a_time_is_shown_in_two_units(seconds, text):
    assert format_duration(seconds) == text
