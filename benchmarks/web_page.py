"""The live page: first paint, how far it is behind a scan, and what its viewers cost the scan.

A scan of 768 patterns (64 x 64) in a process of its own, in turn: alone, the baseline; with `cxgi web` and a browser;
with 20 viewers beside it that read everything. The time of a scan is from its first to its last pattern. `delay_ms` is
from the time of an exposure's document to the moment when the browser has shown it, on one clock. Needs chromium and
chromium-driver.

    python -m benchmarks.web_page [ROUNDS]
"""

from __future__ import annotations

import os
import re
import socket
import statistics
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks._timing import report
from cxgi_bluesky.catalog import find_run, open_catalog
from tests.processes import Place, Process
from tests.web.browser import Browser

VIEWERS = 20
SCAN = """
import sys
from cxgi_bluesky import session
s = session.start(data=sys.argv[1], object_name="gold", live=False, progress=False, time_scale=float(sys.argv[2]))
s.catalog
print("ready", flush=True)
for line in sys.stdin:
    (uid,) = s.RE(s.scan(0.1875, 1.0))
    print("scanned", uid, flush=True)
"""
TIME_SCALE = 0.04  # of an exposure of 1 s
WATCH = """
    window.delays = [];
    new MutationObserver(() => {
      const { event, shown } = document.getElementById("live").dataset;
      if (event) window.delays.push(1000 * (Number(shown) - Number(event)));
    }).observe(document.getElementById("live"), { attributes: true, attributeFilter: ["data-done"] });
"""


class Scanner:
    """A session that scans when it is told."""

    def __init__(self, place: Place) -> None:
        self._place, self._done = place, 0
        self._process = place.start("scan", "-c", SCAN, str(place.data), str(TIME_SCALE))
        self._process.wait_for("ready")

    def scan(self) -> float:
        """Seconds from the first to the last exposure."""
        self._process.go_on()
        self._done += 1
        while self._process.text.count("scanned") < self._done:
            time.sleep(0.1)
            assert self._process.process.poll() is None, self._process.errors
        uid = self._process.text.split()[-1]
        catalog = open_catalog(self._place.data)
        times = find_run(catalog, uid)["primary"]["time"].read()
        return round(float(max(times) - min(times)), 2)


def start_page(place: Place, name: str) -> tuple[Process, str, float]:
    """The page, its address, and the seconds until it says it."""
    begun = time.perf_counter()
    page = place.start(name, "-m", "cxgi_bluesky.cli", "web", "--data", str(place.data), "--port", "0")
    page.wait_for("The page is at")
    return page, re.search(r"http://\S+", page.text)[0], time.perf_counter() - begun


def read_everything(port: int, ends: ExitStack) -> list[int]:
    """One more viewer; counts the bytes that it gets."""
    viewer, got = ends.enter_context(socket.create_connection(("127.0.0.1", port))), [0]
    viewer.sendall(b"GET /events HTTP/1.1\r\nHost: localhost\r\n\r\n")

    def read() -> None:
        while data := viewer.recv(65536):
            got[0] += len(data)

    threading.Thread(target=read, daemon=True).start()
    return got


def first_paint_ms(browser: Browser, address: str) -> float:
    browser.open(address)
    paint = "return performance.getEntriesByName('first-contentful-paint').map((e) => e.startTime)[0]"
    while (painted := browser.ask(paint)) is None:
        time.sleep(0.05)
    return float(painted)


def main(rounds: int) -> None:
    alone: list[float] = []
    watched: list[float] = []
    crowded: list[float] = []
    delays: list[float] = []
    paints: dict[str, list[float]] = {"live": [], "runs": [], "plan": []}
    received = 0
    with tempfile.TemporaryDirectory() as folder, ExitStack() as ends:
        place = Place(Path(folder), ends)
        scanner = Scanner(place)
        browser = Browser(Path(folder) / "profile")
        ends.callback(browser.close)
        starts = []
        for number in range(rounds):
            browser.open("about:blank")
            alone.append(scanner.scan())
            page, address, started_s = start_page(place, f"web-{number}")
            starts.append(started_s)
            time.sleep(10)  # what it loads behind is not the scan's
            for name, path in (("live", "/"), ("runs", "/runs"), ("plan", "/plan?current_pA=15")):
                paints[name].append(first_paint_ms(browser, address + path))
            browser.open(address)
            browser.ask(WATCH)
            watched.append(scanner.scan())
            time.sleep(1)
            delays += browser.ask("return window.delays")
            with ExitStack() as viewers:
                port = int(address.rpartition(":")[2])
                counts = [read_everything(port, viewers) for _ in range(VIEWERS)]
                crowded.append(scanner.scan())
                received += sum(count[0] for count in counts)
            page.end()
    report("web_page", results(alone, watched, crowded, delays, paints, starts, received))


def results(
    alone: list[float],
    watched: list[float],
    crowded: list[float],
    delays: list[float],
    paints: dict[str, list[float]],
    starts: list[float],
    received: int,
) -> dict[str, Any]:
    delays.sort()
    base = statistics.median(alone)
    return {
        "rounds": len(alone),
        "viewers": VIEWERS,
        "load_average": [round(load, 1) for load in os.getloadavg()],  # of others too: a busy machine says little
        "start_s": round(statistics.median(starts), 2),
        "first_paint_ms": {name: round(statistics.median(values)) for name, values in paints.items()},
        "first_paint_max_ms": {name: round(max(values)) for name, values in paints.items()},
        "delay_ms": {
            "updates": len(delays),
            "median": round(statistics.median(delays)),
            "p99": round(delays[int(0.99 * (len(delays) - 1))]),
            "max": round(delays[-1]),
        },
        "scan_s": {"alone": alone, "one_browser": watched, "browser_and_viewers": crowded},
        "scan_over_alone": {
            "one_browser": round(statistics.median(watched) / base, 4),
            "browser_and_viewers": round(statistics.median(crowded) / base, 4),
        },
        "kilobytes_each_viewer": round(received / 1000 / VIEWERS / len(alone)),
    }


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
