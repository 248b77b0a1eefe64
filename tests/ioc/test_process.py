from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
from contextlib import suppress

import pytest

from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.simulation.ioc.options import IocOptions
from cxgi_bluesky.simulation.ioc.server import free_port
from tests import warm
from tests.patience import PATIENCE_S, eventually

from .serving import ROOT, SlowClient


def test_it_listens_at_home_only_and_tells_clients_what_they_need(shared_ioc):
    assert shared_ioc.info["host"] == "127.0.0.1"
    assert shared_ioc.environment == {
        "EPICS_CA_ADDR_LIST": f"127.0.0.1:{shared_ioc.info['udp_port']}",
        "EPICS_CA_AUTO_ADDR_LIST": "NO",
        "EPICS_CA_SERVER_PORT": str(shared_ioc.info["udp_port"]),
        "EPICS_CA_REPEATER_PORT": shared_ioc.environment["EPICS_CA_REPEATER_PORT"],
    }
    assert shared_ioc.info["tcp_port"] == shared_ioc.info["udp_port"]


def test_the_line_for_people_and_the_file_for_scripts(tmp_path):
    words = [
        sys.executable,
        "-m",
        "cxgi_bluesky.cli",
        "ioc",
        "--end-with-parent",
        "--once-ready",
        str(tmp_path / "ready.json"),
    ]
    ioc = warm.Popen([*words, "--board", "cu32"], stdout=subprocess.PIPE, cwd=ROOT)
    try:
        line = ioc.stdout.readline()
    finally:
        ioc.send_signal(signal.SIGINT)
        rest, _ = ioc.communicate(timeout=PATIENCE_S)
    said = json.loads((tmp_path / "ready.json").read_text())
    assert f"EPICS_CA_SERVER_PORT={said['udp_port']}" in line
    assert rest.startswith("ended with the shutter Closed")
    assert ioc.returncode == 0


@pytest.mark.parametrize("registration", [b"", bytes([0, 24]) + bytes(14)], ids=["of libca", "of caproto"])
def test_it_repeats_beacons_to_those_that_registered(shared_ioc, registration):
    place = ("127.0.0.1", int(shared_ioc.environment["EPICS_CA_REPEATER_PORT"]))
    with socket.socket(type=socket.SOCK_DGRAM) as client, socket.socket(type=socket.SOCK_DGRAM) as server:
        client.settimeout(5)
        client.sendto(registration, place)
        assert client.recv(64)[:2] == bytes([0, 17])  # confirmed
        beacon = bytes([0, 13, 0, 0, 0, 13, 19, 200, 0, 0, 0, 77])
        server.sendto(beacon + bytes(4), place)
        while (heard := client.recv(64))[:12] != beacon:
            assert heard[:2] == bytes([0, 13])  # the IOC's own
        assert heard[12:] == bytes([127, 0, 0, 1])


def test_a_taken_port_is_refused(shared_ioc):
    with pytest.raises(CxgiError, match=f"port {shared_ioc.info['tcp_port']}"):
        free_port("127.0.0.1", shared_ioc.info["tcp_port"])


@pytest.mark.parametrize(
    "wrong",
    [{"port": 70000}, {"prefix": "A B"}, {"time_scale": -1.0}, {"max_open_s": float("nan")}, {"source_ma": 0.0}],
)
def test_impossible_options_are_refused(wrong):
    with pytest.raises(CxgiError):
        IocOptions(**wrong)


def test_a_silent_server_answers_later_and_its_timer_goes_on(own_ioc):
    client = SlowClient(own_ioc("--max-open-s", "3.0"))
    client.put("SHUTTER:CMD", "Open")
    assert client.get("SHUTTER:STATUS") == "Open"
    client.put("FAULT:SILENT_S", 4.0)
    client.put("FAULT:SILENT", 1)
    for silent in (True, False):
        eventually(lambda: client.is_silent("SHUTTER:STATUS", 0.3), silent)
    assert (client.get("SHUTTER:STATUS"), client.get("SHUTTER:TIMED_OUT")) == ("Closed", 1)


IMPOSSIBLE = {
    "EXPOSURE_S": (0.0, -1.0, float("nan"), float("inf")),
    "SHUTTER:MAX_OPEN_S": (-1.0, float("nan")),
    "FAULT:LOST_UM": (float("nan"), float("inf")),
    "FAULT:SHORT_UM": (float("nan"), float("inf")),
    "FAULT:DIP": (-0.1, 1.1, float("nan")),
    "FAULT:SHUTTER_DELAY_S": (-1.0, float("nan"), float("inf")),
    "FAULT:TETRAMM_LATE_S": (-1.0, float("nan"), float("inf")),
    "FAULT:SILENT_S": (-1.0, float("nan"), 1e9),
    "TIME_SCALE": (-1.0, float("nan"), float("inf")),
    "STAGE:X.VELO": (0.0, -1.0, float("nan"), float("inf")),
    "STAGE:X.ACCL": (-1.0, float("nan"), float("inf")),
    "STAGE:X.HLM": (float("nan"), float("inf")),
    "TETRAMM:AveragingTime": (0.0, -1.0, float("nan"), float("inf")),
    "TETRAMM:NumAcquire": (0, -1),
    "SCALER1.TP": (0.0, float("nan"), float("inf")),
}


@pytest.mark.parametrize("name", IMPOSSIBLE)
def test_impossible_numbers_are_not_taken(ca, name):
    before = ca.get(name)
    for value in IMPOSSIBLE[name]:
        ca.put(name, value)
        assert ca.get(name) == before


@pytest.mark.parametrize(
    "name", ["SHUTTER:STATUS", "SHUTTER:PERMIT", "SHUTTER:TIMED_OUT", "SHUTTER:ALARM", "COUNT:OPENINGS", "VALUE"]
)
def test_what_the_ioc_says_no_client_can_write(ca, name):
    assert ca.pv(name).access == "read-only"


START_AND_STAY = """
import subprocess, sys, time
words = [sys.executable, "-m", "cxgi_bluesky.cli", "ioc", "--json", "--end-with-parent", "--board", "cu32"]
ioc = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
print(ioc.stdout.readline(), end="", flush=True)
time.sleep(60)
"""


def test_it_ends_with_its_parent_if_it_is_asked_to(tmp_path):
    words = [sys.executable, "-c", START_AND_STAY]
    parent = subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, cwd=ROOT)
    try:
        port = json.loads(parent.stdout.readline())["tcp_port"]
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    finally:
        parent.kill()
        parent.communicate(timeout=PATIENCE_S)
    eventually(lambda: free_port_or_none(port), port)


def free_port_or_none(port):
    with suppress(CxgiError):
        return free_port("127.0.0.1", port)


def test_nothing_was_logged_as_an_error(own_ioc):
    ioc = own_ioc()
    client = SlowClient(ioc)
    client.put("SHUTTER:CMD", "Open")
    client.put("STAGE:X", 1e6)
    client.put("FAULT:PERMIT", 1)
    client.put("SHUTTER:CMD", "Open")
    client.put("STAGE:X", 0.5)
    client.put("ACQUIRE", 1)
    ioc.end()
    assert ioc.errors == ""
