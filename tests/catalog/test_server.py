"""A session whose catalog is on a real Tiled server, in a process of its own, with the configuration of the docs."""

from __future__ import annotations

import os
import re
import signal
import socket
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path

import httpx
import numpy as np
import pytest

from cxgi_bluesky import session
from cxgi_bluesky.catalog import data_folder, find_run, open_catalog, read_exposures, writer
from cxgi_bluesky.catalog.journal import journal_folder
from cxgi_bluesky.errors import CxgiError
from tests import warm
from tests.conftest import small_board
from tests.patience import PATIENCE_S

KEY = "0123456789abcdef"
PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "use-the-catalog.md"


class Server:
    """Tiled, with a folder of its own."""

    def __init__(self, folder: Path) -> None:
        (folder / "arrays").mkdir()
        (text,) = re.findall(r"```yaml\n(.*?)```", PAGE.read_text(encoding="utf-8"), flags=re.DOTALL)
        self.config = folder / "config.yml"
        self.config.write_text(text.replace("/srv/cxgi", str(folder)).replace("CHOOSEAKEY", KEY), encoding="utf-8")
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = probe.getsockname()[1]
        self.address = f"http://127.0.0.1:{self.port}"
        self.log = folder / "log"
        self.start()

    def start(self) -> None:
        words = ["serve", "config", str(self.config), "--host", "127.0.0.1", "--port", str(self.port)]
        tiled = Path(sys.executable).with_name("tiled")
        with self.log.open("ab") as log:
            self.process = warm.Popen([str(tiled), *words], stdout=log, stderr=log)
        end = time.monotonic() + PATIENCE_S
        while not self._answers():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < end, "the server does not answer"
            time.sleep(0.1)

    def _answers(self) -> bool:
        try:
            with urllib.request.urlopen(f"{self.address}/healthz", timeout=2) as answer:
                return answer.status == 200
        except (urllib.error.URLError, TimeoutError, ConnectionError):
            return False

    def end(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait(timeout=PATIENCE_S)


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    running = Server(tmp_path_factory.mktemp("server"))
    yield running
    running.end()


@pytest.fixture(autouse=True)
def surroundings(monkeypatch, tmp_path):
    monkeypatch.setenv("TILED_API_KEY", KEY)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    monkeypatch.delenv("CXGI_DATA", raising=False)
    made, make = [], httpx.Client.__init__

    def noted(client, *args, **words):
        made.append(client)
        make(client, *args, **words)

    monkeypatch.setattr(httpx.Client, "__init__", noted)
    yield
    for client in made:
        client.close()  # Tiled's clients stay open until their process ends


def start(address):
    board = small_board(8, aperture_um=80.0)
    return session.start(sim=True, data=address, board=board, object_name="CAS", progress=False, live=False, seed=3)


def test_a_session_scans_and_reconstructs_on_a_server(server, tmp_path):
    s = start(server.address)
    (uid,) = s.RE(s.scan(0.25, 1.0, md={"sample": "leaf"}))
    picture = s.reconstruct(uid, method="tv")
    other = open_catalog(server.address)  # as another machine would
    assert len(read_exposures(find_run(other, uid[:8]))) == 16
    assert find_run(other, uid).metadata["start"]["sample"] == "leaf"
    (derived,) = [run for run in other.values() if "raw_uids" in (run.metadata["start"].get("cxgi") or {})]
    np.testing.assert_allclose(np.asarray(derived["primary"]["image"].read()).reshape(8, 8), picture.image)
    assert s.folder == data_folder(server.address)
    assert s.folder.is_relative_to(tmp_path)
    assert not list(journal_folder(s.folder).glob("*.jsonl"))


@pytest.mark.long
def test_a_server_that_dies_ends_no_scan_and_the_scan_is_stored_later(server, caplog):
    s = start(server.address)

    def kill(name, document):
        if name == "event" and document["seq_num"] == 20:
            server.end()

    token = s.RE.subscribe(kill)
    (uid,) = s.RE(s.scan(1.0, 1.0))
    s.RE.unsubscribe(token)
    (journal,) = journal_folder(s.folder).glob("*.jsonl")
    assert f"run {uid[:8]} is safe in its journal" in caplog.text
    assert str(journal) in caplog.text
    with pytest.raises(CxgiError, match=r"server does not answer .*start it again"):
        s.reconstruct()
    assert journal.exists()
    server.start()
    assert s.reconstruct(method="correlation", record=False).source["raw_uids"] == [uid]
    assert len(read_exposures(find_run(s.catalog, uid))) == 64
    assert not journal.exists()


def test_a_server_that_is_stopped_holds_no_exposure_up(server, monkeypatch):
    """The scan, all its exposures made, waits for the catalog at its end alone."""
    s = start(server.address)
    monkeypatch.setattr(writer, "STOP_S", 0.5)
    events, at_stop = [], []
    s.RE.subscribe(lambda name, document: events.append(document["seq_num"]), "event")
    s.RE.subscribe(lambda name, document: at_stop.append(len(events)), "stop")

    def halt(name, document):
        if document["seq_num"] == 5:
            os.kill(server.process.pid, signal.SIGSTOP)

    s.RE.subscribe(halt, "event")
    try:
        (uid,) = s.RE(s.scan(1.0, 1.0))
        assert at_stop == [len(events)]
        assert list(journal_folder(s.folder).glob("*.jsonl"))
    finally:
        os.kill(server.process.pid, signal.SIGCONT)
    assert s.reconstruct(uid, method="correlation", record=False).exposures == 64


def test_a_wrong_key_and_no_server_are_one_error(server, monkeypatch):
    monkeypatch.setenv("TILED_API_KEY", "wrong")
    with pytest.raises(CxgiError, match=r"server http.* cannot be used .*TILED_API_KEY"):
        open_catalog(server.address)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        nobody = f"http://127.0.0.1:{probe.getsockname()[1]}"
        with pytest.raises(CxgiError, match=f"server {nobody} cannot be used"):
            open_catalog(nobody)
