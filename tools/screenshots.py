"""Renew the pictures of the live page in the documentation, from a real scan on the simulated beamline.

    python -m tools.screenshots docs/how-to

Needs chromium and chromium-driver. The scan measures the gold object with 768 patterns; its pictures are taken after
half of them, and of its run with three reconstructions. That of the queue needs redis-server too.
"""

from __future__ import annotations

import re
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from cxgi_bluesky import session
from cxgi_bluesky.cli.program import main as run_cxgi
from cxgi_bluesky.masks.pattern_set import PatternSet
from tests.patience import eventually
from tests.processes import Process
from tests.queue.serving import ASK_S, Queue
from tests.web.browser import DESKTOP, Browser

SHOWN_AT = 400  # patterns
METHODS = ("correlation", "tv", "ch-mwcnn")
SHOWN_FOLDER = "~/cxgi-data"  # instead of the folder of this program, which is gone when the picture is seen


def main(out: Path) -> None:
    """Scan, reconstruct, and take the pictures."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as ends:
        data = str(Path(folder) / "data")
        s = session.start(data=data, object_name="gold", live=False, progress=False, time_scale=0.03, seed=1)
        arguments = ["-m", "cxgi_bluesky.cli", "web", "--data", data, "--port", "0"]
        page = Process([sys.executable, *arguments], Path(folder) / "page", ends)
        page.wait_for("The page is at")
        found = re.search(r"http://\S+", page.text)
        assert found is not None
        address = found[0]
        browser = Browser(Path(folder) / "profile")
        ends.callback(browser.close)
        browser.show(DESKTOP, dark=True)
        browser.open(address)
        s.RE.subscribe(_Camera(browser, data, out / "live-page.png"))
        (uid,) = s.RE(s.scan(0.1875, 3.0, md={"sample": "gold semi-cylinder"}))
        for method in METHODS:
            s.reconstruct(uid, method=method, details=True)
        browser.show(DESKTOP)
        browser.open(f"{address}/runs/{uid}")
        time.sleep(2)
        save_screenshot(browser, data, out / "live-page-run.png")


def show_queue(out: Path) -> None:
    """Queue three scans on a queue server of our own, and take the picture while the second one runs."""
    with tempfile.TemporaryDirectory() as folder, ExitStack() as ends:
        data, profile, key = Path(folder) / "data", Path(folder) / "profile", Path(folder) / "web-key"
        run_cxgi(["queue-profile", str(profile), "--sim", "--data", str(data)])
        queue = Queue(profile, Path(folder), ends)
        arguments = ["-m", "cxgi_bluesky.cli", "web", "--data", str(data), "--port", "0"]
        arguments += ["--queue", queue.address, "--key-file", str(key)]
        page = Process([sys.executable, *arguments], Path(folder) / "page", ends)
        page.wait_for("With the key")
        found = re.search(r"http://\S+", page.text)
        assert found is not None
        browser = Browser(Path(folder) / "browser")
        ends.callback(browser.close)
        browser.show((1280, 760))
        browser.open(f"{found[0]}/login")
        browser.driver.find_element(By.ID, "key").send_keys(key.read_text().strip(), Keys.ENTER)
        for sample, count in (("leaf", 60), ("gold semi-cylinder", 768), ("leaf, other side", 768)):
            patterns = PatternSet(64, count).to_dict()
            queue.add("mask_scan", pattern_set=patterns, exposure_s=3.0, md={"sample": sample})
        queue.do("queue_start")
        eventually(lambda: len(queue.history()), 1, every_s=ASK_S)
        queue.wait_for("manager_state", "executing_queue")
        browser.open(f"{found[0]}/queue")
        time.sleep(2)
        save_screenshot(browser, str(data), out / "live-page-queue.png")
        browser.open("about:blank")
        queue.pause("immediate")
        queue.do("re_abort")


def save_screenshot(browser: Browser, folder: str, path: Path) -> None:
    """Save what a browser shows, with another folder in the foot of the page.

    Parameters
    ----------
    browser : Browser
    folder : str
        Data folder that stands in the foot.
    path : Path
        PNG.
    """
    foot = browser.driver.find_element(By.TAG_NAME, "footer")
    assert folder in foot.text, foot.text
    browser.driver.execute_script(
        "for (const part of arguments[0].querySelectorAll('*, :scope')) for (const node of part.childNodes)"
        " if (node.nodeType === 3) node.data = node.data.replace(arguments[1], arguments[2])",
        foot, folder, SHOWN_FOLDER,
    )  # fmt: skip
    browser.driver.save_screenshot(str(path))


class _Camera:
    """Takes one picture in the middle of a scan."""

    def __init__(self, browser: Browser, folder: str, path: Path) -> None:
        self._browser, self._folder, self._path, self._events = browser, folder, path, 0

    def __call__(self, name: str, document: Any) -> None:
        self._events += name == "event"
        if self._events == SHOWN_AT and name == "event":
            time.sleep(1)
            save_screenshot(self._browser, self._folder, self._path)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
    show_queue(Path(sys.argv[1]))
