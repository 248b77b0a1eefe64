"""``cxgi serve`` as a process: what reads from it works, nothing writes, and its key is nowhere."""

from __future__ import annotations

import json
import re
import signal
import socket
from pathlib import Path

import httpx
import pytest

from cxgi_bluesky.catalog import open_catalog
from cxgi_bluesky.catalog.embedded import open_embedded
from cxgi_bluesky.catalog.journal import journal_folder
from cxgi_bluesky.cli.program import main
from cxgi_bluesky.errors import CxgiError
from tests.processes import Place, Process, uid_of

KEY = "5e4d3c2b1a0f9e8d7c6b5a4f3e2d1c0b"


def start_server(place: Place, *options: str) -> tuple[Process, str]:
    words = ["serve", "--data", str(place.data), "--port", "0", *options]
    server = place.start("server", "-m", "cxgi_bluesky.cli", *words)
    server.wait_for("its key is in")
    return server, re.search(r" at (http://\S+),", server.text)[1]


def everything_said(folder: Path) -> str:
    return "".join(path.read_text(errors="replace") for path in folder.rglob("std*"))


@pytest.mark.long
def test_a_scan_is_followed_and_read_beside_its_session_and_nothing_is_stored(place, monkeypatch, capsys):
    server, address = start_server(place)
    key = (place.data / "serve-key").read_text().strip()
    monkeypatch.setenv("TILED_API_KEY", key)
    live = place.follow("live", "--once", source=address.replace("http", "tiled"))
    scan = place.start_scan("80", publish=False)
    scan.go_on()
    scan.wait_for("80")
    scan.go_on()
    uid = uid_of(scan)
    assert live.finished() == 0, live.errors
    assert place.has_catalogs_image("live", uid)
    monkeypatch.chdir(place.folder)
    assert main(["runs", "--data", address, "--json"]) == 0
    assert [run["uid"] for run in json.loads(capsys.readouterr().out)["runs"]] == [uid]
    assert main(["show", uid[:8], "--data", address]) == 0
    capsys.readouterr()
    assert main(["reconstruct", "last", "--data", address]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "is for reading alone" in line
    assert "--no-record" in line
    assert main(["reconstruct", "last", "--data", address, "--no-record", "--out", "image.png"]) == 0
    assert (place.folder / "image.png").exists()
    assert main(["export", "last", "--data", address]) == 0
    with pytest.raises(CxgiError, match="for reading alone"):
        open_catalog(address, to_write=True)
    assert not list(journal_folder(place.folder / "nobodys").rglob("*.jsonl"))
    server.signal(signal.SIGTERM)
    assert server.finished() == 0, server.errors
    assert "Traceback" not in server.errors
    assert key not in everything_said(place.folder)


@pytest.mark.long
def test_a_key_in_an_address_is_in_no_line_of_the_server(place, monkeypatch):
    """As a browser gives it; with an error, a key that is wrong, and a subscription."""
    from websockets.sync.client import connect

    monkeypatch.setenv("CXGI_SERVE_KEY", KEY)
    server, address = start_server(place)
    for path in ("/api/v1/search/", "/api/v1/metadata/none", "/", "/zarr/v3/", "/api/v1/asset/bytes/x"):
        httpx.get(f"{address}{path}", params={"api_key": KEY})
        httpx.delete(f"{address}{path}", params={"api_key": KEY})
        httpx.get(f"{address}{path}", params={"api_key": KEY[::-1]})
    stream = f"{address.replace('http', 'ws')}/api/v1/stream/single/?api_key={KEY}"
    with connect(stream, additional_headers={"Authorization": f"Apikey {KEY}"}) as subscription:
        subscription.recv(timeout=60)
        server.signal(signal.SIGINT)  # Ctrl-C, with a subscriber
        assert server.finished() == 0, server.errors
    said = server.text + server.errors
    assert KEY not in said
    assert KEY[::-1] not in said
    assert KEY not in Path(place.folder / "server" / "stdout").read_text()
    assert not (place.data / "serve-key").exists()


@pytest.mark.long
def test_the_key_of_a_server_is_not_among_the_arguments_of_its_process(place):
    server, _ = start_server(place)
    key = (place.data / "serve-key").read_text().strip()
    assert key not in Path(f"/proc/{server.process.pid}/cmdline").read_text()
    server.signal(signal.SIGTERM)
    assert server.finished() == 0


def test_what_cannot_be_served_is_one_line(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv("CXGI_SERVE_KEY", raising=False)

    def refused(*options: str) -> str:
        assert main(["serve", *options]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        return line

    assert f"there is no data folder {tmp_path / 'none'}" in refused("--data", str(tmp_path / "none"))
    assert not (tmp_path / "none").exists()
    assert "give a data folder" in refused("--data", "http://localhost:8000")
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        assert f"127.0.0.1:{port} cannot be served at (Address already in use)" in refused(
            "--data", str(tmp_path), "--port", port
        )
    assert "--port 70000: give a number" in refused("--data", str(tmp_path), "--port", "70000")
    assert "cannot be served at" in refused("--data", str(tmp_path), "--host", "192.0.2.1")
    (tmp_path / "serve-key").write_text("0123456789abcdef")
    (tmp_path / "serve-key").chmod(0o644)
    assert "can be read by others" in refused("--data", str(tmp_path), "--port", "0")
    (tmp_path / "serve-key").unlink()
    open_embedded(tmp_path, to_write=True)
    (tmp_path / "tables.db").rename(tmp_path / "moved")
    (tmp_path / "tables.db").symlink_to(tmp_path / "moved")
    assert "tables.db is a symbolic link" in refused("--data", str(tmp_path), "--port", "0")
