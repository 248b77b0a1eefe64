from __future__ import annotations

from cxgi_bluesky.devices.epics.shutter_counter import CLOCK_SET_BACK_S, OpenCount


def test_readbacks_count_openings_once():
    count = OpenCount()
    closed = [count.note(opened, stamp) for opened, stamp in [(False, 1), (True, 2), (True, 2), (True, 3), (False, 4)]]
    assert closed == [False, False, False, False, True]
    assert count.openings == 1
    assert count.seconds > 0


def test_what_is_older_than_what_is_known_tells_nothing():
    count = OpenCount()
    count.note(False, 100.0)
    count.note(True, 101.0)
    assert count.note(False, 100.0) is False  # of the closing before, which comes late
    assert count.openings == 1
    assert count.note(False, 101.5) is True


def test_a_clock_that_was_set_back_is_believed_when_it_was_asked():
    count = OpenCount()
    count.note(True, 1000.0)
    early = 1000.0 - CLOCK_SET_BACK_S - 1
    assert count.note(False, early) is False
    assert count.is_late(early)
    assert count.set_back(early)
    assert not count.set_back(1000.0 - CLOCK_SET_BACK_S + 1)
    count.forget_times()
    assert count.note(False, early) is True


def test_readbacks_without_time_are_all_believed():
    count = OpenCount()
    for opened in (True, False, True, False):
        count.note(opened, 0.0)
    assert count.openings == 2
