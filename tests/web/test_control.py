"""The page with a key, in this process: who may change something, and what is said to a queue server."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from types import SimpleNamespace

import httpx
import pytest
import zmq

from cxgi_bluesky.cli.program import main
from cxgi_bluesky.errors import ScanError
from cxgi_bluesky.masks.pattern_set import PatternSet
from cxgi_bluesky.web.control import describe_panel
from cxgi_bluesky.web.login import LOGIN_S, WRONG_KEYS
from cxgi_bluesky.web.queue_server import QueueServer, QueueState
from cxgi_bluesky.web.serve import LivePage
from tests.patience import PATIENCE_S
from tests.queue.serving import free_port

from .test_page import served

KEY = "0123456789abcdef0123456789abcdef"
ITEM = {"item_uid": "item-1", "name": "mask_scan", "kwargs": {"md": {"sample": "<b>leaf</b>"}, "exposure_s": 1.0}}
FORMS = ("/logout", *(f"/queue/{what}" for what in ("pause", "resume", "stop", "start", "remove", "add")))


class Manager:
    """What stands for a queue server's manager where only questions matter; it keeps them."""

    def __init__(self, ends: ExitStack) -> None:
        self.asked: list[tuple[str, dict]] = []
        self.status = {"manager_state": "executing_queue", "worker_environment_exists": True, "success": True}
        self.status["running_item_uid"] = ITEM["item_uid"]
        self.lists = {"queue_get": {"running_item": ITEM, "items": [{**ITEM, "item_uid": "item-2"}]}}
        self.refusals: dict[str, str] = {}
        self._socket = ends.enter_context(ends.enter_context(zmq.Context()).socket(zmq.REP))
        self.address = f"tcp://127.0.0.1:{self._socket.bind_to_random_port('tcp://127.0.0.1')}"
        self._over = threading.Event()
        thread = threading.Thread(target=self._answer)
        thread.start()
        ends.callback(thread.join, PATIENCE_S)
        ends.callback(self._over.set)

    def _answer(self) -> None:
        while not self._over.is_set():
            if not self._socket.poll(50):
                continue
            question = self._socket.recv_json()
            method, parameters = question["method"], question["params"]
            self.asked.append((method, parameters))
            refused = self.refusals.get(method)
            if method == "re_pause" and refused is None:
                self.status["manager_state"] = "paused"
            answer = self.status if method == "status" else self.lists.get(method, {})
            self._socket.send_json({"success": refused is None, "msg": refused or "", **answer})

    def done(self) -> list[tuple[str, dict]]:
        """What it was asked to do, without what it was asked for."""
        return [
            (method, parameters)
            for method, parameters in self.asked
            if not method.endswith("_get") and method not in ("status", "re_runs", "devices_allowed")
        ]


@pytest.fixture
def ends() -> Iterator[ExitStack]:
    with ExitStack() as ends:
        yield ends


@pytest.fixture
def manager(ends):
    return Manager(ends)


@pytest.fixture
def queue(manager):
    return QueueServer(manager.address)


@pytest.fixture
def lines():
    return []


@pytest.fixture
def client(tmp_path, queue, lines):
    page = LivePage(tmp_path, queue=queue, key=KEY, report=lines.append)
    with served(page) as client:
        yield client


def origin_of(client: httpx.Client) -> dict[str, str]:
    return {"origin": str(client.base_url).rstrip("/")}


def token_in(answer: httpx.Response) -> str:
    return re.search(r'name="token" value="([0-9a-f]{64})"', answer.text)[1]


def log_in(client: httpx.Client, key: str = KEY) -> httpx.Response:
    token = token_in(client.get("/login"))
    return client.post("/login", data={"key": key, "token": token}, headers=origin_of(client))


@pytest.fixture
def token(client):
    """Of the forms of a client that has logged in."""
    assert log_in(client).status_code == 303
    return token_in(client.get("/queue"))


# ---------------------------------------------------------------- who may change something


@pytest.mark.parametrize("address", ["/login", *FORMS])
def test_without_a_key_there_is_nothing_to_send_to(tmp_path, address):
    with served(LivePage(tmp_path)) as client:
        assert client.post(address, data={"key": KEY}, headers=origin_of(client)).status_code == 404
        assert client.get(address).status_code == 404
        assert "Log in" not in client.get("/plan?current_pA=15").text


@pytest.mark.parametrize("address", FORMS)
def test_who_has_not_logged_in_changes_nothing(client, manager, address):
    token = token_in(client.get("/login"))
    answer = client.post(address, data={"token": token, "item": "item-1"}, headers=origin_of(client))
    assert answer.status_code == 401
    assert "Log in first" in answer.text
    assert 'href="/login"' in answer.text
    assert manager.asked == []


def test_who_has_not_logged_in_sees_no_queue_and_asks_nothing_of_it(client, manager):
    for address in ("/", "/runs", "/plan?current_pA=15", "/queue", "/queue/part", "/queue/control", "/queue/stop"):
        assert "<b>" not in client.get(address, follow_redirects=True).text
    assert client.get("/queue/part").status_code == 401
    assert client.get("/queue").headers["location"] == "/login"
    assert manager.asked == []


@pytest.mark.parametrize("address", FORMS)
def test_a_form_without_its_token_or_of_another_page_changes_nothing(client, manager, token, address):
    before = manager.done()
    ours = origin_of(client)
    with_token = {"token": token, "item": "item-1"}
    refused = [
        client.post(address, data={"item": "item-1"}, headers=ours),
        client.post(address, data={**with_token, "token": "0" * 64}, headers=ours),
        client.post(address, data=with_token),
        client.post(address, data=with_token, headers={"origin": "http://evil.example"}),
        client.post(address, data=with_token, headers={"origin": "null"}),
        client.post(address, data=with_token, headers={"origin": "http://127.0.0.1:1"}),
        client.post(address, data=with_token, headers={**ours, "sec-fetch-site": "same-site"}),
    ]
    assert [answer.status_code for answer in refused] == [403] * 7
    assert all("nothing was changed" in answer.text for answer in refused)
    assert client.post(address, data=with_token, headers={**ours, "host": "evil.example"}).status_code == 421
    assert manager.done() == before == []


@pytest.mark.parametrize("address", FORMS[1:])
def test_getting_an_address_changes_nothing(client, manager, token, address):
    answer = client.get(address, params={"token": token, "item": "item-1"}, headers=origin_of(client))
    assert answer.status_code == (200 if address == "/queue/stop" else 405)
    assert manager.done() == []


def test_a_form_that_is_too_long_is_refused(client, manager, token):
    answer = client.post("/queue/add", data={"token": token, "x": "y" * 20_000}, headers=origin_of(client))
    assert answer.status_code == 413
    assert manager.done() == []


# ---------------------------------------------------------------- login


def test_the_cookie_is_out_of_reach_of_scripts_and_other_pages(client):
    answer = log_in(client)
    cookie = answer.headers["set-cookie"].lower()
    assert "httponly" in cookie
    assert "samesite=strict" in cookie
    assert "secure" not in cookie  # over HTTP it would never come back
    assert KEY not in str(answer.headers) + client.get("/queue").text


def test_behind_tls_the_cookie_is_sent_over_tls_alone(client):
    token, host = token_in(client.get("/login")), origin_of(client)["origin"].partition("//")[2]
    answer = client.post("/login", data={"key": KEY, "token": token}, headers={"origin": f"https://{host}"})
    assert "secure" in answer.headers["set-cookie"].lower()


def test_wrong_keys_are_refused_and_after_some_the_right_one_too(client, lines):
    for _ in range(WRONG_KEYS):
        answer = log_in(client, "x" + KEY)
        assert (answer.status_code, "That is not the key" in answer.text) == (403, True)
    answer = log_in(client)
    assert answer.status_code == 429
    assert 0 < int(answer.headers["retry-after"]) <= 61
    assert client.get("/queue").status_code == 303
    assert len(lines) == WRONG_KEYS + 1
    assert KEY not in "".join(lines)


def test_wrong_keys_are_forgotten_after_a_while(client, monkeypatch):
    for _ in range(WRONG_KEYS):
        log_in(client, "wrong")
    monkeypatch.setattr("cxgi_bluesky.web.login.WRONG_S", 0.0)
    assert log_in(client).status_code == 303


def test_a_login_whose_time_is_over_changes_nothing(client, manager, token, monkeypatch):
    later = time.monotonic() + LOGIN_S + 1
    monkeypatch.setattr("cxgi_bluesky.web.login.time", SimpleNamespace(monotonic=lambda: later))
    answer = client.post("/queue/pause", data={"token": token, "when": "now"}, headers=origin_of(client))
    assert (answer.status_code, "a login ends after" in answer.text) == (401, True)
    assert client.get("/queue").headers["location"] == "/login"
    assert manager.done() == []


def test_who_logs_out_is_out_with_a_kept_cookie_too(client, manager, token):
    kept = dict(client.cookies)
    assert client.post("/logout", data={"token": token}, headers=origin_of(client)).status_code == 303
    client.cookies.update(kept)
    answer = client.post("/queue/pause", data={"token": token, "when": "now"}, headers=origin_of(client))
    assert answer.status_code == 401
    assert manager.done() == []


# ---------------------------------------------------------------- what is said to a queue server


@pytest.mark.parametrize(("address", "fields", "asked"), [
    ("/queue/pause", {"when": "now"}, [("re_pause", {"option": "immediate"})]),
    ("/queue/pause", {"when": "later"}, [("re_pause", {"option": "deferred"})]),
    ("/queue/resume", {"item": "item-1"}, [("re_resume", {})]),
    ("/queue/resume", {"item": "item-0"}, []),
    ("/queue/stop", {"item": "item-1", "how": "keep"}, [("re_pause", {"option": "immediate"}), ("re_stop", {})]),
    ("/queue/stop", {"item": "item-1", "how": "abort"}, [("re_pause", {"option": "immediate"}), ("re_abort", {})]),
    ("/queue/stop", {"item": "item-0", "how": "abort"}, []),
    ("/queue/stop", {}, []),
    ("/queue/start", {}, [("queue_start", {})]),
    ("/queue/remove", {"item": "item-2"}, [("queue_item_remove", {"uid": "item-2"})]),
])  # fmt: skip
def test_each_button_asks_for_one_thing_of_the_plan_it_was_shown_for(client, manager, token, address, fields, asked):
    answer = client.post(address, data={"token": token, **fields}, headers=origin_of(client))
    assert (answer.status_code, answer.headers["location"]) == (303, "/queue")
    assert manager.done() == asked
    if not asked:
        assert "does not run any more" in client.get("/queue").text


def test_a_plan_is_queued_as_it_was_planned(client, manager, token):
    manager.lists["devices_allowed"] = {"devices_allowed": {"stage": {}, "object_stage": {}}}
    fields = {"current_pA": "15", "amount": "20min", "budget": "open", "sample": "leaf", "which": "best"}
    answer = client.post("/queue/add", data={"token": token, **fields}, headers=origin_of(client))
    assert answer.headers["location"] == "/queue"
    ((method, asked),) = manager.done()
    arguments = asked["item"]["kwargs"]
    assert (method, asked["item"]["name"], asked["item"]["args"]) == (
        "queue_item_add", "mask_scan", ["stage", "shutter", "diode"],
    )  # fmt: skip
    patterns = PatternSet.from_dict(arguments.pop("pattern_set"))
    page = client.get("/plan", params=fields).text
    assert f"<strong>{patterns.count} patterns</strong>" in page
    assert f"exposure_s={arguments.pop('exposure_s'):g}, max_open_s=1200" in page
    assert arguments == {"max_open_s": 1200.0, "object_stage": "object_stage", "md": {"sample": "leaf"}}


def test_a_plan_with_a_reference_scan_is_queued_in_two_parts(client, manager, token):
    fields = {"token": token, "current_pA": "15", "masks": "reference"}
    for more in ({"part": "reference"}, {"part": "scan"}, {"part": "scan", "reference_uid": "12345678"}):
        client.post("/queue/add", data={**fields, **more}, headers=origin_of(client))
    (_, first), (_, second) = manager.done()
    assert (first["item"]["name"], second["item"]["name"]) == ("reference_scan", "mask_scan")
    assert second["item"]["kwargs"]["reference_uid"] == "12345678"
    assert second["item"]["kwargs"]["pattern_set"] == first["item"]["kwargs"]["pattern_set"]


def test_what_a_queue_server_refuses_is_said_in_one_line(client, manager, token):
    manager.refusals["queue_item_add"] = "Plan validation failed:\n  no <device>"
    client.post("/queue/add", data={"token": token, "current_pA": "15"}, headers=origin_of(client))
    assert "refuses: Plan validation failed: no &lt;device&gt;</p>" in client.get("/plan").text
    assert "refuses" not in client.get("/plan").text  # it is said once


def test_a_closed_environment_is_said_with_the_remedy(client, manager, token):
    manager.status |= {"worker_environment_exists": False, "manager_state": "idle", "running_item_uid": None}
    manager.lists["queue_get"] = {"running_item": {}, "items": [ITEM]}
    manager.status["plan_queue_uid"] = "new"
    client.post("/queue/start", data={"token": token}, headers=origin_of(client))
    assert client.get("/queue").text.count("qserver environment open") >= 2
    assert manager.done() == []


def test_a_queue_server_that_does_not_answer_is_said_and_holds_up_nobody(tmp_path, monkeypatch):
    monkeypatch.setattr("cxgi_bluesky.web.queue_server.ANSWER_S", 0.2)
    queue = QueueServer(f"tcp://127.0.0.1:{free_port()}")
    with served(LivePage(tmp_path, queue=queue, key=KEY)) as client:
        log_in(client)
        page = client.get("/queue").text
        assert "does not answer: is start-re-manager running?" in page
        assert 'disabled aria-describedby="why-not"' in page
        client.post("/queue/pause", data={"token": token_in(client.get("/queue"))}, headers=origin_of(client))
        assert "does not answer" in client.get("/").text


@pytest.mark.parametrize("path", ["/", "/queue", "/queue/part", "/queue/control", "/queue/stop"])
@pytest.mark.parametrize(("status", "label"), [
    ({}, "Pause now"), ({"pause_pending": True}, "Pause now"), ({"manager_state": "paused"}, "Resume"),
])  # fmt: skip
def test_pages_show_what_can_be_done_now(client, manager, token, monkeypatch, path, status, label):
    monkeypatch.setattr("cxgi_bluesky.web.queue_server.KEEP_S", -1.0)
    manager.status |= status
    assert ("Stop it" if path == "/queue/stop" else label) in client.get(path).text


def test_many_pages_ask_as_much_as_one(client, manager, token, monkeypatch):
    monkeypatch.setattr("cxgi_bluesky.web.queue_server.KEEP_S", PATIENCE_S)
    before = len(manager.asked)
    for _ in range(20):
        assert client.get("/queue/part").status_code == 200
    assert len(manager.asked) == before


def test_names_from_a_queue_are_text(client, token):
    page = client.get("/queue").text
    assert "&lt;b&gt;leaf" in page
    assert "<b>" not in page


# ---------------------------------------------------------------- whose scan it is


START = {"uid": "scan", "time": 100.0, "scan_id": 7, "sample": "leaf"}
RUNNING = {**ITEM, "properties": {"time_start": 90.0}}


@pytest.mark.parametrize(("queue", "is_its"), [
    (QueueState(running=RUNNING, open_runs=("scan",)), True),
    (QueueState(running=RUNNING, open_runs=("another",)), False),
    (QueueState(running=RUNNING), True),  # the manager does not list the run yet
    (QueueState(running={**RUNNING, "properties": {"time_start": 200.0}}), False),  # begun before the plan
    (QueueState(), False),
])  # fmt: skip
def test_a_scan_that_the_queue_server_does_not_make_is_of_a_console(queue, is_its):
    panel = describe_panel(queue, START)
    assert (panel.item == ITEM["item_uid"]) == is_its
    assert ("session at a console" in panel.reason) != is_its
    assert bool(panel.reason) != is_its


def test_a_stop_of_a_plan_that_does_not_pause_gives_up(manager, queue, monkeypatch):
    monkeypatch.setattr("cxgi_bluesky.web.queue_server.PAUSE_S", 0.5)
    manager.refusals["re_pause"] = "The engine resumes"
    with pytest.raises(ScanError, match="stop it again"):
        queue.stop("item-1", keep=True)
    assert set(dict(manager.done())) == {"re_pause"}


# ---------------------------------------------------------------- the command


@pytest.mark.parametrize(("arguments", "message"), [
    (["--queue", "tcp://127.0.0.1:60615"], "needs a key: --key-file FILE"),
    (["--queue", "127.0.0.1:60615", "--key-file", "key"], "give tcp://HOST:PORT"),
    (["--key-file", "key"], "give --queue tcp://HOST:PORT"),
    (["--queue", "tcp://127.0.0.1:60615", "--key-file", "missing/key"], "missing/key cannot be used"),
])  # fmt: skip
def test_a_key_and_a_queue_server_go_together(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CXGI_DATA", str(tmp_path))
    monkeypatch.delenv("CXGI_WEB_KEY", raising=False)
    assert main(["web", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_a_key_that_is_bad_is_refused_and_not_shown(capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("CXGI_DATA", str(tmp_path))
    monkeypatch.setenv("CXGI_WEB_KEY", "tooshort")
    assert main(["web", "--queue", "tcp://127.0.0.1:60615"]) == 2
    error = capsys.readouterr().err
    assert "has 8 characters" in error
    assert "tooshort" not in error
