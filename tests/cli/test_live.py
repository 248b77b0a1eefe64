"""A scan in one process, and who follows it in others, with a real proxy or server between them."""

from __future__ import annotations

import math
import pickle
import signal
import socket
import threading
from pathlib import Path

import numpy as np
import pytest
from bluesky.callbacks.zmq import Publisher

from cxgi_bluesky.callbacks.zmq_documents import DocumentPublisher, from_wire, to_wire
from cxgi_bluesky.cli.program import main
from cxgi_bluesky.errors import CxgiError
from tests.catalog.test_server import KEY, Server
from tests.conftest import small_scan
from tests.processes import uid_of
from tests.queue.serving import free_port

# ---------------------------------------------------------------- processes


@pytest.mark.long
def test_consumers_that_are_killed_or_hang_do_not_touch_the_scan_nor_the_others(place):
    """The one that hung and one that came late catch up from the journal, and then have the image of the catalog."""
    place.start_proxy()
    data = ("--data", str(place.data), "--once")
    survivor, killed, hung = place.follow("survivor", "--once"), place.follow("killed"), place.follow("hung", *data)
    scan = place.start_scan("40,80")
    scan.go_on()
    scan.wait_for("40")
    killed.signal(signal.SIGKILL)
    hung.signal(signal.SIGSTOP)
    scan.go_on()
    scan.wait_for("80")
    late = place.follow("late", *data)
    scan.go_on()
    uid = uid_of(scan)
    hung.signal(signal.SIGCONT)
    for one, name in ((survivor, "survivor"), (hung, "hung"), (late, "late")):
        assert one.finished() == 0, one.errors
        assert place.has_catalogs_image(name, uid)
        assert f"{uid[:8]}, success: correlation of 128 patterns" in one.text


@pytest.mark.long
def test_a_proxy_that_hangs_dies_or_is_missing_does_not_touch_the_scan(place):
    """Who follows fills the gap from the journal once there is a proxy again; the scan's process ends by itself."""
    proxy = place.start_proxy()
    live = place.follow("live", "--data", str(place.data), "--once")
    scan = place.start_scan("30,60,90")
    scan.go_on()
    scan.wait_for("30")
    proxy.signal(signal.SIGSTOP)
    scan.go_on()
    scan.wait_for("60")
    proxy.end()
    scan.go_on()
    scan.wait_for("90")
    place.start_proxy("another")
    scan.go_on()
    uid = uid_of(scan)
    again = place.start_scan()  # if the end of the first was lost too, it is read when the second begins
    again.go_on()
    uid_of(again)
    assert live.finished() == 0, live.errors
    assert f"{uid[:8]}, success" in live.text
    assert place.has_catalogs_image("live", uid)


@pytest.mark.long
def test_a_proxy_that_hangs_at_the_end_does_not_keep_the_process(place):
    proxy = place.start_proxy()
    scan = place.start_scan("20")
    place.follow("live")
    scan.go_on()
    scan.wait_for("20")
    proxy.signal(signal.SIGSTOP)
    scan.go_on()
    uid_of(scan)


@pytest.mark.long
def test_who_comes_late_and_has_nothing_to_catch_up_from_says_so_and_waits_for_the_next_scan(place):
    place.start_proxy()
    scan = place.start_scan("40,50")
    scan.go_on()
    scan.wait_for("40")
    late = place.follow("late")
    scan.go_on()
    scan.wait_for("50")
    scan.go_on()
    uid_of(scan)
    late.wait_for("waiting for the next scan")
    assert not (place.out("late") / "live.png").exists()
    next_scan = place.start_scan()
    next_scan.go_on()
    uid = uid_of(next_scan)
    late.wait_for(f"{uid[:8]}, success")
    late.signal(signal.SIGINT)
    assert late.finished() == 0
    assert "Ended from the keyboard" in late.text
    assert "Traceback" not in late.errors
    assert place.has_catalogs_image("late", uid)


@pytest.mark.long
def test_a_scan_into_a_server_is_followed_from_there_also_by_who_comes_late(place, monkeypatch):
    monkeypatch.setenv("TILED_API_KEY", KEY)
    server = place.start_server()
    source = server.address.replace("http", "tiled")
    live = place.follow("live", "--once", source=source)
    scan = place.start_scan("80,81", publish=False)
    scan.go_on()
    scan.wait_for("80")
    monkeypatch.setenv("XDG_DATA_HOME", str(place.folder / "another-machine"))  # without the journal
    late = place.follow("late", "--once", source=source)
    scan.go_on()
    scan.wait_for("81")
    scan.go_on()
    uid = uid_of(scan)
    for one, name in ((live, "live"), (late, "late")):
        assert one.finished() == 0, one.errors
        assert place.has_catalogs_image(name, uid)


@pytest.mark.long
def test_a_server_that_does_not_stream_is_one_line(place, monkeypatch, capsys):
    monkeypatch.setenv("TILED_API_KEY", KEY)
    place.folder.joinpath("server").mkdir()
    server = Server(place.folder / "server")
    place.ends.callback(server.end)
    assert main(["live", "--from", server.address, "--out", str(place.folder / "out")]) == 2
    assert "the server does not stream" in capsys.readouterr().err


# ---------------------------------------------------------------- what is refused


class Hostile:
    """Whoever unpickles it makes a file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def __reduce__(self):
        return Path.touch, (self._path,)


def publish_until(done: threading.Event, publisher: Publisher) -> None:
    while not done.wait(0.1):
        publisher("start", {})


@pytest.mark.parametrize("protocol", [0, 5])
def test_a_pickle_is_refused_in_one_line_and_never_loaded(protocol, place, tmp_path, capfd):
    place.start_proxy()
    victim, done = tmp_path / "victim", threading.Event()
    payload = pickle.dumps({"uid": Hostile(victim)}, protocol)
    pickle.loads(payload)  # noqa: S301 what it would do
    victim.unlink()
    publisher = Publisher(place.proxy_in, serializer=lambda document: payload)
    sender = threading.Thread(target=publish_until, args=(done, publisher))
    sender.start()
    try:
        assert main(["live", "--from", f"0mq://{place.proxy_out}", "--out", str(tmp_path / "out")]) == 2
    finally:
        done.set()
        sender.join()
        publisher.close()
    (line,) = capfd.readouterr().err.splitlines()
    assert line.startswith(f"cxgi: 0MQ proxy {place.proxy_out}: what comes is ")
    assert "and not JSON: publish with session.start(publish='HOST:PORT')" in line
    assert ("a pickle, which is never loaded" in line) is (protocol == 5)
    assert not victim.exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--from", "localhost:5578"], "--from 'localhost:5578': give 0mq://HOST:PORT or tiled://HOST:PORT"),
        (["--from", "0mq://localhost"], "0MQ proxy 'localhost' is no address: give HOST:PORT"),
        (["--from", "tiled://localhost:8000", "--data", "here"], "--data here: with a Tiled server"),
        (["--from", "0mq://localhost:5578", "--data", "nowhere"], "there is no data folder nowhere"),
    ],
)
def test_what_cannot_be_followed_is_one_line(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["live", *arguments]) == 2
    assert message in capsys.readouterr().err


# ---------------------------------------------------------------- the publisher


def test_a_publisher_waits_for_nobody(monkeypatch, RE, beamline, documents):
    """No proxy, and one that takes nothing: all exposures are made, and the end comes."""
    with socket.socket() as silent:  # takes connections, and says nothing
        silent.bind(("127.0.0.1", 0))
        silent.listen()
        for address in (f"127.0.0.1:{free_port()}", f"127.0.0.1:{silent.getsockname()[1]}"):
            publisher = DocumentPublisher(address)
            token = RE.subscribe(publisher)
            RE(small_scan(beamline))
            for _ in range(3000):  # three times what is kept for a peer
                publisher("event", {"data": {"bucket": 1.0}})
            RE.unsubscribe(token)
            publisher.close()
            assert documents.of("stop")[-1]["num_events"]["primary"] == 64


def test_documents_that_cannot_be_published_are_one_warning(caplog):
    publisher = DocumentPublisher(f"127.0.0.1:{free_port()}")
    publisher.close()
    publisher("start", {"uid": "1"})
    publisher("stop", {"uid": "2"})
    assert [record.getMessage().partition(" (")[0] for record in caplog.records] == ["documents are not published"]


def test_what_goes_over_the_wire_comes_back_to_the_bit():
    numbers = {"third": 1 / 3, "least": 5e-324, "large": 2**70, "inf": -math.inf}
    odd = {"nan": math.nan, "array": np.arange(3) / 7, "path": Path("/a"), "text": "\u00b5 \ud800"}
    back = from_wire(to_wire({**numbers, **odd}))
    assert {key: back[key] for key in numbers} == numbers
    assert math.isnan(back["nan"])
    assert (back["array"], back["path"], back["text"]) == ((np.arange(3) / 7).tolist(), "/a", odd["text"])


@pytest.mark.parametrize("payload", [b"", b"\x80", b"[" * 100_000, b"1", b"[]", b"\xff\xfe", pickle.dumps({"a": 1})])
def test_what_is_no_document_in_json_is_refused(payload):
    with pytest.raises(CxgiError, match="what comes is"):
        from_wire(payload)
