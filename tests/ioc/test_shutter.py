from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import pytest

from tests import warm
from tests.patience import PATIENCE_S, eventually

from .serving import SlowClient
from .waiting import Heard


def test_it_opens_and_closes_and_is_counted(ca):
    for _ in range(2):
        ca.put("SHUTTER:CMD", "Open")
        assert ca.get("SHUTTER:STATUS") == "Open"
        ca.put("SHUTTER:CMD", "Open")
        ca.put("SHUTTER:CMD", "Close")
        assert ca.get("SHUTTER:STATUS") == "Closed"
    assert ca.get("COUNT:OPENINGS") == 2


def test_pulses_do_the_same(ca):
    ca.put("SHUTTER:OPEN_PULSE", 1)
    eventually(lambda: ca.get("SHUTTER:STATUS"), "Open")
    ca.put("SHUTTER:CLOSE_PULSE", 1)
    eventually(lambda: ca.get("SHUTTER:STATUS"), "Closed")
    assert ca.get("SHUTTER:CMD") == "Close"


def test_it_is_seen_moving(ca):
    heard = Heard(ca, "SHUTTER:STATUS")
    ca.put("FAULT:SHUTTER_DELAY_S", 0.05)
    ca.put("SHUTTER:CMD", "Open")
    eventually(lambda: heard, [0, 2, 1])
    heard.close()


def test_without_permit_it_closes_and_does_not_open(ca):
    ca.put("SHUTTER:CMD", "Open")
    ca.put("FAULT:PERMIT", 1)
    assert ca.get("SHUTTER:PERMIT") == "Denied"
    assert ca.get("SHUTTER:STATUS") == "Closed"
    ca.put("SHUTTER:CMD", "Open")
    assert (ca.get("SHUTTER:STATUS"), ca.get("SHUTTER:CMD")) == ("Closed", "Close")
    ca.put("FAULT:PERMIT", 0)
    ca.put("SHUTTER:CMD", "Open")
    assert ca.get("SHUTTER:STATUS") == "Open"


def test_a_failed_opening_leaves_no_light_and_no_alarm(ca):
    ca.put("FAULT:SHUTTER_FAIL", "open")
    ca.put("SHUTTER:CMD", "Open")
    assert (ca.get("SHUTTER:STATUS"), ca.get("SHUTTER:ALARM"), ca.get("COUNT:OPENINGS")) == ("Failed", 0, 0)
    ca.put("SHUTTER:CMD", "Close")
    assert ca.get("SHUTTER:STATUS") == "Closed"


def test_a_failed_closing_leaves_the_light_on_and_an_alarm_that_forbids_opening_until_it_is_reset(ca):
    ca.put("SHUTTER:CMD", "Open")
    light = ca.expose()
    ca.put("FAULT:SHUTTER_FAIL", "close")
    ca.put("SHUTTER:CMD", "Close")
    assert (ca.get("SHUTTER:STATUS"), ca.get("SHUTTER:ALARM")) == ("Failed", 1)
    assert ca.expose() == pytest.approx(light, rel=0.2)
    ca.put("FAULT:SHUTTER_FAIL", "none")
    ca.put("SHUTTER:CMD", "Close")
    assert (ca.get("SHUTTER:STATUS"), ca.get("SHUTTER:ALARM")) == ("Closed", 1)
    ca.put("SHUTTER:CMD", "Open")
    assert ca.get("SHUTTER:STATUS") == "Closed"
    ca.put("SHUTTER:RESET", 1)
    ca.put("SHUTTER:CMD", "Open")
    assert (ca.get("SHUTTER:STATUS"), ca.get("SHUTTER:ALARM")) == ("Open", 0)


def test_close_overtakes_a_slow_opening(ca):
    ca.put("FAULT:SHUTTER_DELAY_S", 1.0)
    ca.put("SHUTTER:CMD", "Open", wait=False)
    eventually(lambda: ca.get("SHUTTER:STATUS"), "Moving")
    ca.put("FAULT:SHUTTER_DELAY_S", 0.0)
    ca.put("SHUTTER:CMD", "Close")
    time.sleep(1.1)
    assert (ca.get("SHUTTER:STATUS"), ca.get("COUNT:OPENINGS")) == ("Closed", 0)


def test_asking_again_does_not_put_a_slow_closing_off(ca):
    ca.put("SHUTTER:CMD", "Open")
    ca.put("FAULT:SHUTTER_DELAY_S", 0.4)
    ca.put("SHUTTER:CMD", "Close", wait=False)
    time.sleep(0.2)
    ca.put("FAULT:SHUTTER_DELAY_S", 60.0)
    ca.put("SHUTTER:CMD", "Close")
    assert ca.get("SHUTTER:STATUS") == "Closed"


def test_a_permit_withdrawn_while_it_opens_keeps_it_closed(ca):
    ca.put("FAULT:SHUTTER_DELAY_S", 1.0)
    ca.put("SHUTTER:CMD", "Open", wait=False)
    eventually(lambda: ca.get("SHUTTER:STATUS"), "Moving")
    ca.put("FAULT:SHUTTER_DELAY_S", 0.0)
    ca.put("FAULT:PERMIT", 1)
    time.sleep(1.1)
    assert (ca.get("SHUTTER:STATUS"), ca.get("COUNT:OPENINGS")) == ("Closed", 0)


def test_the_timer_closes_it_and_says_so_until_the_next_close(ca):
    ca.put("SHUTTER:MAX_OPEN_S", 0.1)
    ca.put("SHUTTER:CMD", "Open")
    eventually(lambda: ca.get("SHUTTER:STATUS"), "Closed")
    assert ca.get("SHUTTER:TIMED_OUT") == 1
    ca.put("SHUTTER:CMD", "Close")
    assert ca.get("SHUTTER:TIMED_OUT") == 0


def test_the_timer_tries_again_when_closing_failed(ca):
    ca.put("FAULT:SHUTTER_FAIL", "close")
    ca.put("SHUTTER:MAX_OPEN_S", 0.1)
    ca.put("SHUTTER:CMD", "Open")
    eventually(lambda: ca.get("SHUTTER:STATUS"), "Failed")
    ca.put("FAULT:SHUTTER_FAIL", "none")
    eventually(lambda: ca.get("SHUTTER:STATUS"), "Closed")
    assert (ca.get("SHUTTER:ALARM"), ca.get("SHUTTER:TIMED_OUT")) == (1, 1)


def test_the_timer_counts_from_each_opening(ca):
    ca.put("SHUTTER:MAX_OPEN_S", 2.0)
    for _ in range(3):
        ca.put("SHUTTER:CMD", "Open")
        time.sleep(0.8)
        assert ca.get("SHUTTER:STATUS") == "Open"
        ca.put("SHUTTER:CMD", "Close")
    assert ca.get("SHUTTER:TIMED_OUT") == 0


OPEN_AND_STAY = """
import sys, time, epics
assert epics.caput(sys.argv[1] + "SHUTTER:CMD", "Open", wait=True, timeout=120)
print(epics.caget(sys.argv[1] + "SHUTTER:STATUS", as_string=True), flush=True)
time.sleep(60)
"""


def test_the_timer_closes_it_after_the_client_was_killed(shared_ioc, ca):
    ca.put("SHUTTER:MAX_OPEN_S", 3.0)
    words = [sys.executable, "-c", OPEN_AND_STAY, ca.prefix]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    child = warm.Popen(words, **pipes, env={**os.environ, **shared_ioc.environment})
    try:
        assert child.stdout.readline().strip() == "Open"
    finally:
        child.send_signal(signal.SIGKILL)
        child.communicate(timeout=PATIENCE_S)
    assert ca.get("COUNT:OPENINGS") == 1
    eventually(lambda: ca.get("SHUTTER:STATUS"), "Closed")
    assert ca.get("SHUTTER:TIMED_OUT") == 1


def test_barrier_and_source_stop_the_light_too(ca):
    ca.put("SHUTTER:CMD", "Open")
    assert ca.expose() > 1
    for name, off, on in (("SAFETY", "Close", "Open"), ("SOURCE", "Off", "On")):
        ca.put(f"{name}:CMD", off)
        assert ca.expose() < 1
        assert ca.get("I0:VALUE") < 1
        ca.put(f"{name}:CMD", on)
        assert ca.expose() > 1
        assert ca.get("I0:VALUE") == pytest.approx(1000, rel=0.05)


HEAR = """
import sys, time, epics
pv = epics.PV(sys.argv[1] + "SHUTTER:STATUS", callback=lambda value, **_: print(value, flush=True))
pv.wait_for_connection(timeout=120)
sys.stdin.read()
"""


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGINT])
def test_the_end_of_the_ioc_closes_it_and_monitors_hear_of_it(own_ioc, how):
    ioc = own_ioc("--max-open-s", "30")
    client = SlowClient(ioc)
    assert client.get("SHUTTER:MAX_OPEN_S") == 30
    client.put("SHUTTER:CMD", "Open")
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
    words = [sys.executable, "-c", HEAR, ioc.prefix]
    listener = warm.Popen(words, **pipes, env={**os.environ, **ioc.environment})
    try:
        assert listener.stdout.readline() == "1\n"
        counted = ioc.end(how)
        assert listener.stdout.readline() == "0\n"
    finally:
        listener.kill()
        listener.communicate(timeout=PATIENCE_S)
    assert ioc.process.returncode == 0
    assert (counted["shutter"], counted["openings"]) == ("Closed", 1)
