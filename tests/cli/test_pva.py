"""A scan in one process, ``cxgi pva`` in another, and pvAccess clients in others."""

from __future__ import annotations

import signal
from contextlib import ExitStack

import numpy as np
import pytest
from p4p.client.thread import Context

from cxgi_bluesky.callbacks.pva_publisher import STATES
from cxgi_bluesky.catalog import find_run, open_catalog, read_exposures
from cxgi_bluesky.session.reconstruct_run import reconstruct_run
from tests.catalog.test_server import KEY
from tests.patience import PATIENCE_S, eventually
from tests.processes import SCAN as SCAN_BY_EVENTS
from tests.processes import Place, Process, uid_of
from tests.queue.serving import free_port

# Says that it has an image, and then takes whatever comes.
CLIENT = """
import threading
from p4p.client.thread import Context
context = Context("pva")
context.monitor("CXGI:Image", lambda value: print("has an image", flush=True))
threading.Event().wait()
"""
ONLY_PATTERNS = """
    streams.setdefault(document["uid"], document.get("name"))
    if name != "event" or streams[document["descriptor"]] != "primary":
        return
    made.append(document)"""
SCAN = SCAN_BY_EVENTS.replace("made = []", "made, streams = [], {}").replace('(step, "event")', "(step)")
SCAN = SCAN.replace("\n    made.append(document)", ONLY_PATTERNS)
EXPOSURES = 128
STEPS = range(16, EXPOSURES, 4)


@pytest.fixture
def place(tmp_path, monkeypatch):
    tcp, udp = str(free_port()), str(free_port())
    for name in ("EPICS_PVAS", "EPICS_PVA"):
        monkeypatch.setenv(f"{name}_SERVER_PORT", tcp)
        monkeypatch.setenv(f"{name}_BROADCAST_PORT", udp)
    monkeypatch.setenv("EPICS_PVA_ADDR_LIST", "127.0.0.1")
    monkeypatch.setenv("EPICS_PVA_AUTO_ADDR_LIST", "NO")
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "nobodys"))
    with ExitStack() as ends:
        yield Place(tmp_path, ends)


def serve(place: Place, source: str | None = None) -> Process:
    where = ["--data", str(place.data)] if source is None else ["--from", source]
    served = place.start("pva", "-m", "cxgi_bluesky.cli", "pva", *where)
    served.wait_for("Serving")
    return served


def start_scan(place: Place, steps: str = "0", proxy: str = "") -> Process:
    scan = place.start("scan", "-c", SCAN, str(place.data), proxy, steps)
    scan.wait_for("ready")
    return scan


def listen(place: Place) -> tuple[Context, list]:
    context, came = Context("pva"), []
    place.ends.callback(context.close)
    context.monitor("CXGI:Image", came.append)
    eventually(lambda: len(came), 1)
    return context, came


def exposed(came: list) -> int:
    """From how many exposures the newest image is; 0 before there is one."""
    return came[-1].attrib.get("exposures", 0)


@pytest.mark.long
def test_every_image_of_a_scan_comes_with_its_size_and_time_whatever_other_clients_do(place):
    served = serve(place)
    scan = start_scan(place, ",".join(map(str, STEPS)))
    context, came = listen(place)
    states = []  # found before others hang: of the sockets of one machine, one alone gets a client's search
    context.monitor("CXGI:State", states.append)
    eventually(lambda: len(states), 1)
    killed, hung = (place.start(name, "-c", CLIENT) for name in ("killed", "hung"))
    for other in (killed, hung):
        other.wait_for("has an image")
    scan.go_on()
    for step in STEPS:
        scan.wait_for(f"{step}\n")
        eventually(lambda: exposed(came), step)
        if step == 40:
            killed.signal(signal.SIGKILL)
            hung.signal(signal.SIGSTOP)
        scan.go_on()
    uid = uid_of(scan)
    eventually(lambda: STATES[int(states[-1])], "done")
    eventually(lambda: exposed(came), EXPOSURES)
    run = find_run(open_catalog(place.data), uid)
    times = {k: e.time for k, e in read_exposures(run).streams["primary"].items()}
    in_turn = sorted(times.values())
    images = [image for image in came if image.attrib.get("run_uid") == uid]
    assert len({image.attrib["exposures"] for image in images}) >= 25
    for image in images:
        assert image.shape == (16, 16)
        assert image.attrib["pixel_width_um"] == 10.0
        assert image.timestamp == pytest.approx(in_turn[image.attrib["exposures"] - 1], abs=1e-6)
    stored = reconstruct_run(open_catalog(place.data), run, method="tv", record=False)[0]
    np.testing.assert_array_equal(images[-1], stored.image.astype(np.float32))
    served.signal(signal.SIGINT)
    assert served.finished() == 0
    assert "Ended from the keyboard" in served.text
    assert "Traceback" not in served.errors


@pytest.mark.long
def test_who_starts_late_serves_the_last_scan_and_one_that_is_cut_off_says_so(place):
    first = start_scan(place)
    first.go_on()
    uid = uid_of(first)
    serve(place)
    context, came = listen(place)
    eventually(lambda: exposed(came), EXPOSURES)
    assert context.get("CXGI:RunUid", timeout=PATIENCE_S) == uid
    second = start_scan(place, "40")
    second.go_on()
    second.wait_for("40")
    eventually(lambda: int(context.get("CXGI:ExposuresDone", timeout=PATIENCE_S)), lambda done: done != EXPOSURES)
    second.signal(signal.SIGKILL)
    eventually(lambda: STATES[int(context.get("CXGI:State", timeout=PATIENCE_S))], "cut off")
    assert context.get("CXGI:State", timeout=PATIENCE_S).severity == 2
    recovered = place.start("recover", "-m", "cxgi_bluesky.cli", "recover", "--data", str(place.data))
    assert recovered.finished() == 0, recovered.errors
    eventually(lambda: STATES[int(context.get("CXGI:State", timeout=PATIENCE_S))], "ended early")


def follow_to_the_end(place: Place, served: Process, proxy: str = "") -> None:
    """A scan from elsewhere: its images come while it runs, and the last one is that of the catalog, to the bit."""
    scan = start_scan(place, "60", proxy)
    context, came = listen(place)
    scan.go_on()
    scan.wait_for("60\n")
    eventually(lambda: exposed(came), lambda exposures: 0 < exposures <= 60)
    scan.go_on()
    uid = uid_of(scan)
    eventually(lambda: exposed(came), EXPOSURES)
    eventually(lambda: STATES[int(context.get("CXGI:State", timeout=PATIENCE_S))], "done")
    assert context.get("CXGI:RunUid", timeout=PATIENCE_S) == uid
    catalog = open_catalog(place.data)
    stored = reconstruct_run(catalog, find_run(catalog, uid), method="tv", record=False)[0]
    np.testing.assert_array_equal(came[-1], stored.image.astype(np.float32))
    served.signal(signal.SIGINT)
    assert served.finished() == 0, served.errors
    assert "Traceback" not in served.errors


@pytest.mark.long
def test_images_of_a_scan_behind_a_proxy_are_served(place):
    place.start_proxy()
    served = serve(place, f"0mq://{place.proxy_out}")
    follow_to_the_end(place, served, place.proxy_in)


@pytest.mark.long
def test_images_of_a_scan_into_a_server_are_served(place, monkeypatch):
    monkeypatch.setenv("TILED_API_KEY", KEY)
    server = place.start_server()
    follow_to_the_end(place, serve(place, server.address.replace("http", "tiled")))
