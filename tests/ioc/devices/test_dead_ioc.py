"""What devices do when the IOC has gone or keeps silent: they end within their time-outs."""

from __future__ import annotations

import signal
import time

import pytest

from cxgi_bluesky.devices.shutter import ShutterError
from cxgi_bluesky.patterns import PatternSet

from .conftest import scan


def test_a_scan_ends_soon_after_its_ioc(RE, documents, own_ioc, make_line):
    ioc = own_ioc()
    line = make_line(ioc.prefix)

    def kill(name, document):
        if name == "event" and document["seq_num"] == 3:
            ioc.end(signal.SIGKILL)

    RE.subscribe(kill)
    begun = time.monotonic()
    with pytest.raises(Exception):  # noqa: B017, PT011 whatever was under way
        RE(scan(line, PatternSet(32, 8), object_stage=None))
    assert time.monotonic() - begun < 40
    assert documents.of("stop")[0]["exit_status"] == "fail"
    assert line.shutter.alarm is not None
    with pytest.raises(ShutterError, match="does not open"):
        line.shutter.set("open")


def test_a_silent_ioc_is_an_alarm_of_the_shutter_and_an_error_of_the_rest(own_ioc, make_line):
    ioc = own_ioc()
    line = make_line(ioc.prefix, timeouts={"read_s": 0.3, "write_s": 0.5}, stage__move_timeout_s=0.5)
    line.shutter.set("open").wait(timeout=5)
    ioc.process.send_signal(signal.SIGSTOP)
    try:
        with pytest.raises(ShutterError, match=r"ALARM: it could not be closed .*second_barrier FAILED too"):
            line.shutter.close()
        with pytest.raises(Exception, match="has not arrived"):
            line.stage.tile.set(40).wait(timeout=10)
    finally:
        ioc.process.send_signal(signal.SIGCONT)
