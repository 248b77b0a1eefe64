"""The page as people see it: a real browser, a scan in a process of its own, and viewers that misbehave."""

from __future__ import annotations

import re
import signal
import socket
from contextlib import ExitStack

import pytest

from cxgi_bluesky import session
from cxgi_bluesky.catalog import find_run, open_catalog, read_exposures
from tests.conftest import small_board
from tests.patience import eventually
from tests.processes import Place, Process, uid_of
from tests.web.browser import DESKTOP, PHONE, Browser

pytestmark = pytest.mark.long

SCAN = """
import sys
from cxgi_bluesky import session
data, fraction, scale = sys.argv[1], float(sys.argv[2]), float(sys.argv[3])
s = session.start(data=data, object_name="gold", live=False, progress=False, time_scale=scale, seed=3)
s.catalog
print("ready", flush=True)
sys.stdin.readline()
(uid,) = s.RE(s.scan(fraction, 1.0, md={"sample": "gold"}))
print(uid, flush=True)
"""


@pytest.fixture
def ends():
    with ExitStack() as ends:
        yield ends


@pytest.fixture
def place(tmp_path, monkeypatch, ends):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "nobodys"))
    return Place(tmp_path, ends)


@pytest.fixture
def browser(tmp_path, ends):
    browser = Browser(tmp_path / "profile")
    ends.callback(browser.close)
    return browser


def start_page(place: Place, *options: str) -> tuple[Process, str]:
    """``cxgi web`` on a free port, and its address."""
    page = place.start("web", "-m", "cxgi_bluesky.cli", "web", "--data", str(place.data), "--port", "0", *options)
    page.wait_for("The page is at")
    return page, re.search(r"http://\S+", page.text)[0]


def start_scan(place: Place, fraction: float, time_scale: float) -> Process:
    scan = place.start("scan", "-c", SCAN, str(place.data), str(fraction), str(time_scale))
    scan.wait_for("ready")
    return scan


BROKEN = "return [...document.images].filter((i) => i.src && !i.naturalWidth).map((i) => i.src)"


def check(browser: Browser, address: str) -> None:
    """Show a page on every screen, and look for what is wrong with it."""
    for size in (DESKTOP, PHONE):
        for dark in (False, True):
            browser.show(size, dark=dark)
            browser.open(address)
            eventually(lambda: browser.ask("return [...document.images].every((i) => i.hidden || i.complete)"), True)
            eventually(lambda: browser.ask(BROKEN), [])  # the newest image replaces one that is being loaded
            assert browser.serious_findings() == []
            assert browser.wider_than_it() == []
            assert browser.complaints() == []


def test_pages_of_stored_runs_are_right_on_every_screen(place, browser):
    s = session.start(data=place.data, board=small_board(16), live=False, progress=False, seed=3)
    (uid,) = s.RE(s.scan(0.5, 1.0))
    for method in ("correlation", "tv"):
        s.reconstruct(uid, method=method, details=True)
    _, address = start_page(place)
    for path in ("/", "/runs", f"/runs/{uid}", "/plan?current_pA=15&resolve=20um", "/nothing-there"):
        if path == "/nothing-there":
            browser.open(address + path)
            assert all("404" in text for text in browser.complaints())
            continue
        check(browser, address + path)


def test_images_are_compared_and_covered_by_their_uncertainty(place, browser):
    s = session.start(data=place.data, board=small_board(16), live=False, progress=False, seed=3)
    (uid,) = s.RE(s.scan(0.5, 1.0))
    for method in ("correlation", "tv"):
        s.reconstruct(uid, method=method, details=True)
    _, address = start_page(place)
    browser.open(f"{address}/runs/{uid}")
    assert browser.ask("return document.getElementById('layer-a').style.clipPath") == "inset(0px 50% 0px 0px)"
    browser.ask("""
        const slider = document.getElementById("split");
        slider.value = 20;
        slider.dispatchEvent(new Event("input"));
        document.getElementById("uncertain").click()""")
    assert browser.ask("return document.getElementById('layer-a').style.clipPath") == "inset(0px 80% 0px 0px)"
    loaded = "return ['a', 'b'].map((side) => document.getElementById('overlay-' + side).naturalWidth)"
    eventually(lambda: browser.ask(loaded), [16, 16])
    assert "Amber covers" in browser.ask("return document.getElementById('uncertain-text').textContent")
    before = browser.ask("return document.getElementById('image-b').src")
    browser.ask("""
        const choose = document.getElementById("choose-b");
        choose.value = "1";
        choose.dispatchEvent(new Event("change"))""")
    assert browser.ask("return document.getElementById('image-b').src") != before


def test_the_page_follows_a_scan_to_its_end_on_every_screen(place, browser):
    page, address = start_page(place)
    scan = start_scan(place, 0.1875, 0.03)
    browser.open(address)
    done = "return document.getElementById('done').textContent"
    phase = "return document.getElementById('phase').textContent"
    assert browser.ask(phase) == "No scan is running"
    scan.go_on()
    eventually(lambda: browser.ask(done), lambda text: text.endswith(" / 768"))
    eventually(lambda: browser.ask("return document.getElementById('image').naturalWidth"), 64)
    check(browser, address)
    uid = uid_of(scan)
    eventually(lambda: (browser.ask(phase), browser.ask(done)), ("Finished", "768 / 768"))
    eventually(lambda: "768 patterns" in browser.ask("return document.getElementById('image').alt"), True)
    assert browser.ask("return document.getElementById('announce').textContent") == "scan 1, gold: Finished"
    browser.open(f"{address}/runs/{uid}")
    assert "cxgi reconstruct" in browser.ask("return document.body.textContent")
    browser.open(f"{address}/runs")
    assert browser.ask("return document.querySelector('img.thumb').naturalWidth") == 64
    assert page.process.poll() is None


def test_viewers_that_flood_or_sleep_and_a_page_that_hangs_do_not_touch_a_scan(place):
    page, address = start_page(place)
    port = int(address.rpartition(":")[2])
    scan = start_scan(place, 0.05, 0.01)
    with ExitStack() as viewers:
        for _ in range(20):  # never read what they have asked for
            viewer = viewers.enter_context(socket.create_connection(("127.0.0.1", port)))
            viewer.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        scan.go_on()
        for _ in range(300):
            with socket.create_connection(("127.0.0.1", port)) as flood:
                flood.sendall(b"GET /runs?q=" + b"x" * 1000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n" * 3)
        page.signal(signal.SIGSTOP)
        uid = uid_of(scan)
    page.signal(signal.SIGCONT)
    exposures = read_exposures(find_run(open_catalog(place.data), uid))
    assert (len(exposures), exposures.figures["repeats"]) == (205, 0)


def test_the_page_ends_at_ctrl_c_also_with_viewers(place):
    page, address = start_page(place)
    with socket.create_connection(("127.0.0.1", int(address.rpartition(":")[2]))) as viewer:
        viewer.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        assert b"event: state" in viewer.recv(10_000) + viewer.recv(10_000)
        page.signal(signal.SIGINT)
        assert page.finished() == 0
    assert "Traceback" not in page.errors


def test_a_scan_is_followed_over_0mq(place, browser):
    place.start_proxy()
    page, address = start_page(place, "--from", f"0mq://{place.proxy_out}")
    scan = place.start_scan("0")
    browser.open(address)
    scan.go_on()
    uid_of(scan)
    eventually(lambda: browser.ask("return document.getElementById('done').textContent"), "128 / 128")
    assert page.process.poll() is None
