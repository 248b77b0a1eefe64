"""Scans paused, stopped and queued in a real browser: a real queue server, with devices over Channel Access."""

from __future__ import annotations

import os
import signal
from contextlib import ExitStack
from pathlib import Path
from types import SimpleNamespace

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from cxgi_bluesky.catalog import find_run, open_catalog
from cxgi_bluesky.cli.program import main
from tests.beamline_files import changed_file
from tests.ioc.devices.conftest import changes_of
from tests.ioc.serving import IocProcess, SlowClient
from tests.patience import eventually
from tests.processes import Place
from tests.queue.serving import Queue
from tests.web.browser import PHONE, Browser
from tests.web.test_browser import check, start_page, start_scan

pytestmark = pytest.mark.long

PLAN = "/plan?current_pA=15&board=cu32&amount=20min"
TEXT = "return document.body.innerText"


class Operator:
    """One who has the key, and types and clicks."""

    def __init__(self, browser: Browser, address: str) -> None:
        self.browser, self.address, self.driver = browser, address, browser.driver

    def open(self, path: str) -> None:
        self.browser.open(self.address + path)

    def sees(self, text: str) -> None:
        """Wait until a text is there."""
        eventually(lambda: text in self.browser.ask(TEXT), True)

    def click(self, label: str) -> None:
        """Click a button when it can be; that it is written anew meanwhile happens to people, too."""

        def clicked() -> bool:
            return self.browser.ask(
                """const found = [...document.querySelectorAll("button:enabled")]
                     .find((one) => one.textContent.trim() === arguments[0]);
                   if (found) found.click();
                   return Boolean(found)""",
                label,
            )

        eventually(clicked, True)

    def log_in(self, key: str) -> None:
        self.driver.find_element(By.ID, "key").send_keys(key, Keys.ENTER)

    def disabled(self) -> list[str]:
        return self.browser.ask("return [...document.querySelectorAll('button:disabled')].map((b) => b.textContent)")


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """An IOC, a queue server with its devices, and a data folder, for all tests."""
    folder = tmp_path_factory.mktemp("server")
    with ExitStack() as ends:
        ends.enter_context(pytest.MonkeyPatch.context()).setenv("XDG_DATA_HOME", str(folder / "nobodys"))
        ioc = IocProcess("--time-scale", "0.05", "--board", "cu32", "--prefix", "PAGE:")
        ends.callback(ioc.end)
        place = Place(folder, ends)
        words = ["--beamline", str(changed_file(folder, changes_of("PAGE:"))), "--data", str(place.data)]
        assert main(["queue-profile", str(folder / "profile"), *words]) == 0
        queue = Queue(folder / "profile", folder, ends, ioc.environment)
        yield SimpleNamespace(ioc=ioc, place=place, queue=queue)


@pytest.fixture
def queue(server):
    return server.queue


@pytest.fixture
def place(server):
    return server.place


@pytest.fixture
def ends():
    with ExitStack() as ends:
        yield ends


@pytest.fixture
def key_file(tmp_path):
    return tmp_path / "web-key"


@pytest.fixture
def page(place, queue, key_file):
    return start_page(place, "--queue", queue.address, "--key-file", str(key_file))


@pytest.fixture
def operator(tmp_path, page, ends):
    browser = Browser(tmp_path / "browser")
    ends.callback(browser.close)
    browser.show()
    return Operator(browser, page[1])


def test_a_scan_is_queued_paused_resumed_and_stopped_from_the_page(operator, queue, server, place, page, key_file):
    shutter = SlowClient(server.ioc)
    operator.open("/queue")
    operator.log_in("wrong" * 5)
    operator.sees("That is not the key.")
    assert any("403" in text for text in operator.browser.complaints())
    operator.log_in(key_file.read_text().strip())
    operator.sees("Nothing waits.")

    operator.open(PLAN)
    operator.driver.find_element(By.ID, "sample-best").send_keys("leaf")
    operator.click("Queue this scan")
    operator.sees("Start the queue to run it.")
    operator.click("Start the queue")
    uid = queue_run(queue)
    operator.open("/")
    done = "return parseInt(document.getElementById('done').textContent)"
    eventually(lambda: operator.browser.ask(done), lambda patterns: (patterns or 0) > 2)
    operator.click("Pause now")
    operator.sees("Paused")
    queue.wait_for("manager_state", "paused")
    assert shutter.get("SHUTTER:STATUS") == "Closed"
    for path in ("/", "/queue", "/queue/stop", PLAN):
        check(operator.browser, operator.address + path)

    operator.browser.show()
    operator.open("/queue")
    operator.click("Resume")
    queue.wait_for("manager_state", "executing_queue")
    operator.click("Pause after this exposure")
    queue.wait_for("manager_state", "paused")
    operator.click("Resume")
    queue.wait_for("manager_state", "executing_queue")
    operator.click("Stop …")
    operator.sees("Until you choose, it goes on")
    operator.click("Stop it")
    operator.sees("Stopped.")
    queue.wait_for("manager_state", "idle")
    operator.sees(f"run {uid[:8]}")
    assert queue.history()[-1]["result"]["exit_status"] == "stopped"
    operator.open(f"/runs/{uid}")
    operator.sees("leaf")
    stop = find_run(open_catalog(place.data), uid).metadata["stop"]
    assert (stop["exit_status"], stop["num_events"]["primary"] > 0) == ("success", True)
    assert shutter.get("SHUTTER:STATUS") == "Closed"
    key = key_file.read_text().strip()
    command = Path(f"/proc/{page[0].process.pid}/cmdline").read_text()
    assert key not in command + page[0].text + page[0].errors


def test_an_aborted_plan_is_put_back_and_removed(operator, queue, key_file):
    operator.open("/login")
    operator.log_in(key_file.read_text().strip())
    operator.open(PLAN)
    operator.click("Queue this scan")
    operator.click("Start the queue")
    queue_run(queue)
    operator.click("Stop …")
    operator.click("Abort it")
    operator.sees("aborted before, put back")
    operator.click("Remove")
    operator.sees("Nothing waits.")
    assert queue.do("queue_get")["items"] == []
    operator.click("Log out")
    operator.open("/queue")
    operator.sees("Log in")


def test_a_scan_of_a_console_is_greyed_out_with_the_reason(operator, queue, place, key_file):
    operator.open("/login?to=live")
    operator.log_in(key_file.read_text().strip())
    scan = start_scan(place, 0.1875, 0.2)
    scan.go_on()
    operator.sees("This scan is of a session at a console")
    assert operator.disabled() == ["Pause after this exposure", "Pause now", "Stop …"]
    described = "return document.getElementById('pause-now').getAttribute('aria-describedby')"
    assert "Ctrl-C" in operator.browser.ask(
        "return document.getElementById(arguments[0]).textContent", operator.browser.ask(described)
    )
    operator.browser.show(PHONE)
    assert operator.browser.serious_findings() == []
    assert queue.do("queue_get")["running_item"] == {}


def test_the_page_and_its_viewers_may_die_while_the_queue_runs(operator, queue, page, key_file):
    operator.open("/login?to=live")
    operator.log_in(key_file.read_text().strip())
    options = {"pattern_set": {"basis": "hadamard", "size": 32, "order": "zig-zag", "count": 40}, "exposure_s": 1.0}
    queue.begin("mask_scan", **options)
    queue.run_begun()
    operator.sees("mask_scan")
    os.kill(page[0].process.pid, signal.SIGKILL)
    assert queue.end()["exit_status"] == "completed"


def queue_run(queue: Queue) -> str:
    """Wait for the run of the plan that was begun from the page; its uid."""
    eventually(lambda: bool(queue.do("re_runs", option="open")["run_list"]), True, every_s=0.2)
    (run,) = queue.do("re_runs", option="open")["run_list"]
    return run["uid"]
