"""What devices do when the IOC has gone or keeps silent: they end within their time-outs, and say so."""

from __future__ import annotations

import pytest
from epics import ca as library

from cxgi_bluesky.devices.epics.signals import read_uncached

from .children import in_child
from .conftest import HASTY


def test_a_scan_ends_soon_after_its_ioc(own_ioc, beamline_file):
    ioc = own_ioc()
    told = in_child("killed", ioc, beamline_file(ioc.prefix, **HASTY))
    assert told["error"]
    assert told["ended"] == "fail"
    assert "does not open: it could not be closed" in told["refused"]


def test_a_silent_ioc_is_an_alarm_of_the_shutter_and_an_error_of_the_rest(own_ioc, beamline_file):
    ioc = own_ioc()
    told = in_child("silent", ioc, beamline_file(ioc.prefix, **HASTY))
    assert "ShutterError: shutter ALARM: it could not be closed" in told["close"]
    assert "second_barrier FAILED too" in told["close"]
    assert "NotArrivedError: stage_x was sent to" in told["move"]
    assert "has not arrived" in told["move"]
    assert told["state"] == "closed"


@pytest.mark.filterwarnings("ignore:ca.get:UserWarning")
def test_an_answer_that_is_lost_is_asked_for_once_more(ca, make_line):
    """As pyepics leaves it when the IOC goes at that moment: it would send no other request."""
    signal = make_line(ca.prefix, timeouts={"read_s": 1}).diode.value
    value = read_uncached(signal)
    requests = library.get_cache(signal.pvname).get_results
    for kind in list(requests):
        requests[kind] = [library.GET_PENDING]
    assert read_uncached(signal) == value
