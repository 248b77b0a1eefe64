from __future__ import annotations

import threading
import time

import pytest

from cxgi_bluesky.devices.shutter import ShutterError
from cxgi_bluesky.masks.pattern_set import PatternSet
from tests.beamline_files import GONE
from tests.patience import PATIENCE_S, eventually

from .conftest import HASTY, SOON_S, scan

PULSES = {
    "shutter__command": GONE,
    "shutter__open_pulse": "SHUTTER:OPEN_PULSE",
    "shutter__close_pulse": "SHUTTER:CLOSE_PULSE",
}


def opened(shutter):
    shutter.set("open").wait(timeout=PATIENCE_S)


@pytest.mark.parametrize("how", [{}, PULSES], ids=["command", "pulses"])
def test_it_opens_closes_and_counts(ca, make_line, how):
    shutter = make_line(ca.prefix, **how).shutter
    opened(shutter)
    assert (shutter.state.get(), ca.get("SHUTTER:STATUS")) == ("open", "Open")
    time.sleep(0.1)
    shutter.set("closed").wait(timeout=PATIENCE_S)
    assert (shutter.state.get(), ca.get("SHUTTER:STATUS")) == ("closed", "Closed")
    assert shutter.openings.get() == ca.get("COUNT:OPENINGS") == 1
    assert shutter.open_s.get() >= 0.1


@pytest.mark.parametrize("ending", ["unstage", "stop", "pause", "close"])
def test_everything_that_ends_a_scan_closes_it(ca, line, ending):
    line.shutter.stage()
    opened(line.shutter)
    getattr(line.shutter, ending)()
    assert ca.get("SHUTTER:STATUS") == "Closed"


def test_a_close_overtakes_an_opening(ca, line):
    ca.put("FAULT:SHUTTER_DELAY_S", 2.0)
    opening = line.shutter.set("open")
    line.shutter.close()
    with pytest.raises(ShutterError, match="was closed while it"):
        opening.wait(timeout=PATIENCE_S)
    assert ca.get("SHUTTER:STATUS") == "Closed"


def test_an_opening_that_ends_just_before_a_stop_is_no_closing_by_itself(ca, line):
    opened(line.shutter)
    opening = line.shutter._turn
    line.shutter.stop()
    opening.exposing = True  # as the thread of the opening does, a moment late
    line.shutter.set("closed").wait(timeout=PATIENCE_S)
    assert ca.get("SHUTTER:STATUS") == "Closed"


def test_a_stop_and_a_close_beside_a_slow_close_are_no_closing_by_itself(ca, line, monkeypatch):
    """As when a plan is aborted while its shutter closes: the engine stops it, and the plan's end closes it."""
    opened(line.shutter)
    look, close = line.shutter._is_closed_now, line.shutter._close

    def stop_meanwhile():
        monkeypatch.undo()
        line.shutter.stop()
        monkeypatch.setattr(line.shutter, "_close", close_meanwhile)
        return look()

    def close_meanwhile(*arguments):
        monkeypatch.undo()
        line.shutter.set("closed").wait(timeout=PATIENCE_S)
        close(*arguments)

    monkeypatch.setattr(line.shutter, "_is_closed_now", stop_meanwhile)
    line.shutter.set("closed").wait(timeout=PATIENCE_S)
    assert ca.get("SHUTTER:STATUS") == "Closed"


def test_a_stop_while_it_closes_after_an_exposure_is_no_closing_by_itself(ca, line, monkeypatch):
    opened(line.shutter)
    look = line.shutter._is_closed_now

    def stopped_meanwhile():
        line.shutter.stop()
        return look()

    monkeypatch.setattr(line.shutter, "_is_closed_now", stopped_meanwhile)
    line.shutter.set("closed").wait(timeout=PATIENCE_S)
    assert ca.get("SHUTTER:STATUS") == "Closed"


def test_without_a_permit_it_does_not_open(ca, line):
    ca.put("FAULT:PERMIT", 1)
    with pytest.raises(ShutterError, match=r"may not open: .*SHUTTER:PERMIT says Denied"):
        opened(line.shutter)
    assert ca.get("COUNT:OPENINGS") == 0
    ca.put("FAULT:PERMIT", 0)
    opened(line.shutter)


def test_a_permit_withdrawn_in_an_exposure_spoils_it(ca, line):
    opened(line.shutter)
    ca.put("FAULT:PERMIT", 1)
    with pytest.raises(ShutterError, match=r"closed by itself during the exposure, which is not stored.*PERMIT"):
        line.shutter.set("closed").wait(timeout=PATIENCE_S)
    line.shutter.set("closed").wait(timeout=PATIENCE_S)  # told once


def test_a_slow_shutter_is_waited_for_and_a_slower_one_is_an_alarm(ca, line, hasten):
    ca.put("FAULT:SHUTTER_DELAY_S", 0.2)
    opened(line.shutter)
    line.shutter.set("closed").wait(timeout=PATIENCE_S)
    opened(line.shutter)
    hasten(line)
    ca.put("FAULT:SHUTTER_DELAY_S", 3.0)
    with pytest.raises(ShutterError, match=r"did not close within 0\.6 s"):
        line.shutter.close()


def test_one_that_does_not_open_is_closed_again(ca, line, hasten):
    hasten(line)
    ca.put("FAULT:SHUTTER_FAIL", "open")
    with pytest.raises(ShutterError, match=r"did not open within 0\.6 s .*closed again"):
        opened(line.shutter)
    assert line.shutter.alarm is None
    assert ca.get("SHUTTER:STATUS") == "Closed"


def test_one_that_does_not_close_goes_to_the_second_barrier_and_stays_an_alarm(ca, line, hasten):
    opened(line.shutter)
    hasten(line)
    ca.put("FAULT:SHUTTER_FAIL", "close")
    with pytest.raises(ShutterError, match=r"ALARM: it did not close .*second_barrier has stopped the beam"):
        line.shutter.set("closed").wait(timeout=PATIENCE_S)
    assert ca.get("SAFETY:STATUS") == "Closed"
    with pytest.raises(ShutterError, match=r"does not open: .*reset_alarm"):
        line.shutter.set("open")
    with pytest.raises(ShutterError, match="the alarm stays"):
        line.shutter.reset_alarm()
    ca.put("FAULT:SHUTTER_FAIL", "none")
    line.shutter.close()
    with pytest.raises(ShutterError, match="does not open"):
        line.shutter.set("open")
    line.shutter.reset_alarm()
    assert ca.get("SHUTTER:ALARM") == 0
    with pytest.raises(ShutterError, match=r"second barrier is closed .*SAFETY:STATUS.*open the barrier by hand"):
        opened(line.shutter)
    assert ca.get("SHUTTER:STATUS") == ca.get("SAFETY:STATUS") == "Closed"
    ca.put("SAFETY:CMD", "Open")  # people do that
    opened(line.shutter)


def test_a_second_barrier_that_was_forgotten_ends_a_scan_before_it_exposes(RE, documents, ca, line):
    ca.put("SAFETY:CMD", "Close")
    with pytest.raises(ShutterError, match="second barrier is closed"):
        RE(scan(line, PatternSet(32, 8), dark_exposures=0))
    assert ca.get("COUNT:OPENINGS") == 0


def test_an_exposure_longer_than_the_iocs_timer_is_said_to_be(RE, make_line, ca, caplog):
    line = make_line(ca.prefix, shutter__max_open_s=1.0)
    RE(scan(line, PatternSet(32, 2), exposure_s=1.5, object_stage=None))
    assert "exposure_s 1.5: shutter is closed by its own timer after 1 s" in caplog.text


def test_a_command_that_hangs_goes_to_the_second_barrier(ca, make_line, monkeypatch):
    shutter = make_line(ca.prefix, **HASTY).shutter
    opened(shutter)
    go_on = threading.Event()
    monkeypatch.setattr(shutter.command, "put", lambda *_, **__: go_on.wait(timeout=PATIENCE_S))
    try:
        with pytest.raises(ShutterError, match=r"ALARM: it did not take the command .*has stopped the beam"):
            shutter.close()
        assert ca.get("SAFETY:STATUS") == "Closed"
        assert shutter.alarm is not None
    finally:
        go_on.set()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"shutter__second_barrier": GONE}, "there is no second barrier: stop the beam by hand"),
        (
            {"shutter__second_barrier__closed_value": "Failed", "shutter__second_barrier__closing_s": SOON_S},
            r"FAILED too .*stop the beam by hand",
        ),
    ],
)
def test_the_alarm_says_what_became_of_the_second_barrier(ca, make_line, hasten, change, message):
    line = make_line(ca.prefix, **change)
    opened(line.shutter)
    hasten(line)
    ca.put("FAULT:SHUTTER_FAIL", "close")
    with pytest.raises(ShutterError, match=message):
        line.shutter.close()


def test_a_source_that_is_switched_off_is_a_second_barrier_too(ca, make_line, hasten):
    line = make_line(
        ca.prefix,
        shutter__second_barrier__command="SOURCE:CMD",
        shutter__second_barrier__close_value="Off",
        shutter__second_barrier__readback="SOURCE:STATUS",
        shutter__second_barrier__closed_value="Off",
    )
    opened(line.shutter)
    hasten(line)
    ca.put("FAULT:SHUTTER_FAIL", "close")
    with pytest.raises(ShutterError, match="has stopped the beam"):
        line.shutter.close()
    assert ca.get("SOURCE:STATUS") == "Off"


def test_a_scan_whose_shutter_fails_ends_without_beam(RE, documents, ca, line, hasten):
    def fail(name, document):
        if name == "event" and document["data"].get("pattern_index", -1) >= 0:
            ca.put("FAULT:SHUTTER_FAIL", "close")
            hasten(line)

    RE.subscribe(fail)
    with pytest.raises(ShutterError, match=r"ALARM|does not open|did not close"):
        RE(scan(line, PatternSet(32, 8), object_stage=None))
    assert ca.get("SAFETY:STATUS") == "Closed"
    assert line.shutter.alarm is not None
    assert documents.of("stop")[0]["exit_status"] == "fail"


def test_the_iocs_timer_is_set_while_staged(ca, line):
    ca.put("SHUTTER:MAX_OPEN_S", 5.0)
    line.shutter.stage()
    assert ca.get("SHUTTER:MAX_OPEN_S") == 60.0
    line.shutter.unstage()
    assert ca.get("SHUTTER:MAX_OPEN_S") == 5.0


def test_the_iocs_timer_spoils_the_exposure(ca, make_line):
    shutter = make_line(ca.prefix, shutter__max_open_s=1.0).shutter
    shutter.stage()
    opened(shutter)
    eventually(lambda: ca.get("SHUTTER:TIMED_OUT"), 1)
    with pytest.raises(ShutterError, match="closed by itself"):
        shutter.set("closed").wait(timeout=PATIENCE_S)
    shutter.unstage()
