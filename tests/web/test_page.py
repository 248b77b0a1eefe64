"""The live page in this process, on a data folder with real runs."""

from __future__ import annotations

import asyncio
import io
import json
import re
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace

import h5py
import httpx
import numpy as np
import pytest
import uvicorn
from bluesky.utils import RunEngineInterrupted
from event_model import compose_run
from PIL import Image

from cxgi_bluesky import session
from cxgi_bluesky.callbacks import LiveCorrelation
from cxgi_bluesky.catalog import open_catalog, writer_of
from cxgi_bluesky.catalog.follow import JournalTails
from cxgi_bluesky.catalog.journal import Journal, journal_folder
from cxgi_bluesky.cli.program import main
from cxgi_bluesky.plans import dark_scan
from cxgi_bluesky.reconstruction.result import grey_values
from cxgi_bluesky.web.images import PngStore, grey_ends, grey_png, scale_bar, uncertainty_png
from cxgi_bluesky.web.live_state import POINTS, LiveState
from cxgi_bluesky.web.news import MAX_VIEWERS, News
from cxgi_bluesky.web.serve import LivePage
from tests.conftest import small_board, small_scan, smooth_image
from tests.patience import PATIENCE_S, eventually
from tests.plans.test_endings import interrupted

HOSTILE = '<script>alert("x")</script>'


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A folder with a scan, two images of it, and a dark scan."""
    folder = tmp_path_factory.mktemp("data")
    s = session.start(data=folder, board=small_board(16), object_name="CAS", live=False, progress=False, seed=3)
    (uid,) = s.RE(s.scan(0.5, 1.0, md={"sample": f"Siemens {HOSTILE}"}))
    (dark,) = s.RE(dark_scan(s.shutter, s.diode, exposure_s=1.0))
    for method in ("correlation", "tv"):
        s.reconstruct(uid, method=method, details=True)
    return SimpleNamespace(folder=folder, uid=uid, dark=dark)


@pytest.fixture
def page(stored):
    return LivePage(stored.folder)


@contextmanager
def served(page: LivePage) -> Iterator[httpx.Client]:
    """Serve a page's application on a port, as `serve` does but in a thread."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = uvicorn.Server(uvicorn.Config(page.pages.app, log_level="warning"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
        thread.start()
        try:
            eventually(lambda: server.started, True)
            address = f"http://127.0.0.1:{listener.getsockname()[1]}"
            with httpx.Client(base_url=address, timeout=PATIENCE_S, trust_env=False) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join(PATIENCE_S)


@pytest.fixture
def client(page):
    with served(page) as client:
        yield client


def text_of(client: httpx.Client, address: str) -> str:
    answer = client.get(address)
    assert answer.status_code == 200, answer.text
    return answer.text


# ---------------------------------------------------------------- the state of a scan


def test_the_state_of_a_scan_half_way_is_that_of_its_documents(RE, documents, beamline):
    RE(small_scan(beamline, 32))
    state, last = LiveState(PngStore()), None
    for name, document in documents:
        if name == "event" and "pattern_index" in document["data"] and (last := document)["seq_num"] > 16:
            break
        state(name, document)
    now = state.snapshot()
    events = [
        event
        for event in documents.of("event")[: documents.of("event").index(last)]
        if "diode_current" in event["data"]
    ]
    assert (now["phase"], now["exposures"]["total"]) == ("running", 32)
    assert now["exposures"]["done"] == len(
        {e["data"]["pattern_index"] for e in events if e["data"]["pattern_index"] >= 0} - {None}
    )
    assert now["diode"]["bucket"] == events[-1]["data"]["diode_current"]
    assert now["stage"]["tile"] == events[-1]["data"]["stage_tile"]
    assert now["event_time"] == events[-1]["time"]
    assert now["time"]["left_s"] > 0
    assert now["open"]["left_s"] == (32 - now["exposures"]["done"] + 4) * 1.0  # the open tile at the end


def test_the_end_of_a_scan_is_shown_with_its_reason(RE, documents, beamline):
    RE(small_scan(beamline, 8))
    state = LiveState(PngStore())
    for name, document in documents:
        stop = {"exit_status": "abort", "reason": "beam lost"} if name == "stop" else {}
        state(name, {**document, **stop})
    ended = state.snapshot()
    assert (ended["phase"], ended["exit_status"], ended["reason"]) == ("ended", "abort", "beam lost")
    assert (ended["time"]["left_s"], ended["open"]["left_s"]) == (None, None)
    assert state.under_way() == []


def test_the_newest_image_has_an_address_of_its_content_and_a_scale(RE, beamline):
    pngs = PngStore()
    state = LiveState(pngs)
    live = LiveCorrelation(first=8, every=8, on_image=state.show, details=True)
    for callback in (state, live):
        RE.subscribe(callback)
    RE(small_scan(beamline, 24))
    last = live.wait(PATIENCE_S)
    (image,) = state.snapshot()["images"]
    assert image["exposures"] == 24
    png = pngs.get(image["png"])
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(png))), grey_values(last.image, pixels=1))
    assert pngs.add(png) == image["png"]
    assert pngs.get(image["overlay"]) == uncertainty_png(last.uncertainty)
    assert image["bar"] == {"percent": 25.0, "text": "20 µm"}


def test_charts_have_few_points_whatever_the_scan():
    state = LiveState(PngStore())
    block = {"pattern_set": {"count": 5000}, "fields": {"bucket": "b", "pattern_index": "k"}}
    state("start", {"uid": "u", "time": 0.0, "num_points": 5000, "cxgi": block})
    state("descriptor", {"uid": "d", "run_start": "u", "name": "primary", "data_keys": {"b": {"units": "pA"}}})
    for n in range(5000):
        state("event", {"descriptor": "d", "seq_num": n + 1, "time": float(n), "data": {"b": float(n % 7), "k": n}})
    buckets = state.charts()["buckets"]
    assert len(buckets) <= POINTS
    assert (buckets[-1][0], min(b[1] for b in buckets), max(b[2] for b in buckets)) == (5000, 0.0, 6.0)


def test_a_scan_whose_psnr_comes_at_its_end_says_so_and_shows_the_uncertainty_meanwhile(RE, documents, beamline):
    RE(small_scan(beamline, 24, validation=16))
    state = LiveState(PngStore())
    for name, document in documents[:-1]:
        state(name, document)
    charts = state.charts()
    assert charts["quality_note"] == "PSNR: at the end, when all 24 patterns are measured"
    assert charts["quality_label"] == "Uncertainty (% of the range)"
    state(*documents[-1])
    assert state.charts()["quality_note"] == ""


@pytest.mark.parametrize(("size", "pixel_um", "text"), [(64, 10.0, "100 µm"), (64, 0.5, "5 µm"), (64, 100.0, "1 mm")])
def test_a_scale_bar_is_round_and_at_most_a_third(size, pixel_um, text):
    bar = scale_bar(size, pixel_um)
    assert bar["text"] == text
    assert 8 < bar["percent"] <= 30


def test_an_uncertainty_without_end_is_covered_most():
    sigma = np.array([[0.0, 1.0], [0.5, np.inf]])
    alpha = np.asarray(Image.open(io.BytesIO(uncertainty_png(sigma))))[..., 3]
    assert alpha[0, 0] == 0
    assert alpha[1, 1] == alpha.max() == 204


# ---------------------------------------------------------------- journals that grow


def test_a_journal_is_read_as_it_grows_and_to_its_end_when_it_is_gone(RE, documents, beamline, tmp_path):
    RE(small_scan(beamline, 8))
    tails, seen = JournalTails(tmp_path), []
    journal = Journal(journal_folder(tmp_path), documents[0][1])
    for name, document in documents[1:-1]:
        journal(name, document)
        seen += tails.new_documents()
    assert [name for name, _ in seen] == [name for name, _ in documents[:-1]]
    journal(*documents[-1])
    journal.remove()
    seen += tails.new_documents()
    assert [document["uid"] for _, document in seen] == [document["uid"] for _, document in documents]
    assert (tails.cut_off(), list(tails.new_documents())) == ([], [])


def test_a_journal_whose_process_has_ended_is_cut_off_once_and_one_left_over_is_left_alone(
    RE, documents, beamline, tmp_path
):
    RE(small_scan(beamline, 8))
    start = documents[0][1]
    Journal(journal_folder(tmp_path), {**start, "uid": "left-over"}).close()
    tails = JournalTails(tmp_path)
    journal = Journal(journal_folder(tmp_path), start)
    assert [document["uid"] for _, document in tails.new_documents()] == [start["uid"]]
    assert tails.cut_off() == []
    journal.close()
    assert (tails.cut_off(), tails.cut_off()) == ([start["uid"]], [])


def test_the_page_follows_the_journal_of_a_scan_and_says_when_it_was_cut_off(RE, documents, beamline, tmp_path):
    RE(small_scan(beamline, 8))
    open_catalog(tmp_path, to_write=True)
    page = LivePage(tmp_path)
    stop = page.start()
    try:
        journal = Journal(journal_folder(tmp_path), documents[0][1])
        for name, document in documents[1:-3]:
            journal(name, document)
        eventually(lambda: page.live.snapshot().get("exposures", {}).get("done", 0), lambda done: done > 4)
        journal.close()
        eventually(lambda: page.live.snapshot()["phase"], "ended")
        assert "cxgi recover" in page.live.snapshot()["reason"]
    finally:
        stop()


# ---------------------------------------------------------------- what viewers get


def test_a_viewer_that_sleeps_gets_the_newest_state_alone():
    async def watch() -> list[bytes]:
        count = 0

        def make() -> int:
            nonlocal count
            count += 1
            return count

        news = News({"state": (make, 0.0)})
        writing = asyncio.create_task(news.write())
        viewer, got = news.follow(), []
        got.append(await anext(viewer))
        while count < 5:
            news.notify()
            await asyncio.sleep(0.01)
        got.append(await anext(viewer))
        await viewer.aclose()
        writing.cancel()
        return [*got, str(news.viewers).encode(), str(count).encode()]

    first, second, viewers, count = asyncio.run(watch())
    assert first == b"event: state\ndata: 1\n\n"
    assert second == b"event: state\ndata: " + count + b"\n\n"
    assert viewers == b"0"


def test_a_state_that_cannot_be_written_is_reported_and_the_next_one_comes(caplog):
    async def watch() -> bytes:
        values = iter([float("nan"), 1])
        news = News({"state": (lambda: next(values), 0.0)})
        writing = asyncio.create_task(news.write())
        asyncio.get_running_loop().call_later(0.3, news.notify)
        message = await anext(news.follow())
        writing.cancel()
        return message

    assert asyncio.run(watch()) == b"event: state\ndata: 1\n\n"
    assert "no state for the viewers" in caplog.text


@pytest.mark.parametrize(
    ("low", "high", "ends"),
    [(1.43e-6, 1.0493217, (0.0, 1.049)), (3.0012345, 3.0456789, (3.00123, 3.04568)), (0.5, 0.5, (0.5, 0.5))],
)
def test_the_ends_of_a_grey_scale_have_the_digits_that_tell_them_apart(low, high, ends):
    assert grey_ends(np.repeat([low, high], 50).reshape(10, 10)) == ends


def test_there_is_an_end_to_viewers(client, page):
    page.pages.news.viewers = MAX_VIEWERS
    assert client.get("/events").status_code == 503


# ---------------------------------------------------------------- pages


def test_the_list_has_thumbnails_and_is_searched_by_any_word(client, stored):
    everything = text_of(client, "/runs")
    assert "2 runs" in everything
    thumbnail = re.search(r'src="(/runs/[0-9a-f-]+/image\.small\.png)"', everything)[1]
    image = Image.open(io.BytesIO(client.get(thumbnail).content))
    assert (image.size, image.mode) == ((16, 16), "L")
    assert "immutable" in client.get(thumbnail).headers["cache-control"]
    assert stored.uid in text_of(client, "/runs?q=siemens+tv")
    found = text_of(client, f"/runs?q={stored.dark[:8]}")
    assert stored.dark in found
    assert stored.uid not in found
    assert "No run has all of these words" in text_of(client, "/runs?q=siemens+nothing")


def test_a_run_is_shown_with_its_images_their_figures_and_files(client, stored):
    shown = text_of(client, f"/runs/{stored.uid}")
    images = json.loads(re.search(r'id="images">(.*?)</script>', shown, re.DOTALL)[1])
    assert [image["method"] for image in images] == ["tv", "correlation"]
    assert all(image["has_uncertainty"] and image["uncertainty"] > 0 for image in images)
    assert "128 of 128, zig-zag order" in shown
    newest = images[0]["uid"]
    assert client.get(f"/runs/{newest}", follow_redirects=False).headers["location"] == f"/runs/{stored.uid}"
    assert Image.open(io.BytesIO(client.get(f"/runs/{newest}/uncertainty.small.png").content)).mode == "RGBA"
    assert Image.open(io.BytesIO(client.get(f"/runs/{newest}/image.png").content)).size == (512, 512)
    assert Image.open(io.BytesIO(client.get(f"/runs/{newest}/file.tiff").content)).size == (16, 16)


def test_a_run_without_reconstruction_is_shown_with_its_live_image_as_the_list_shows_it(tmp_path):
    page = LivePage(tmp_path)
    s = session.start(data=tmp_path, board=small_board(16), live=False, progress=False, seed=3)
    live = LiveCorrelation(first=8, every=8, on_image=page.live.show)
    for callback in (page.live, live):
        s.RE.subscribe(callback)
    (uid,) = s.RE(s.scan(0.5, 1.0))
    live.wait(PATIENCE_S)
    with served(page) as client:
        shown = re.search(r'src="(/live/\w+\.png)"', text_of(client, "/runs"))[1]
        assert shown in text_of(client, f"/runs/{uid}")
        assert "By correlation, from 128 patterns" in text_of(client, f"/runs/{uid}")
        s.reconstruct(uid, method="correlation")
        assert "/live/" not in text_of(client, f"/runs/{uid}")


def test_a_scan_runs_until_its_last_document_and_has_ended_though_it_is_still_being_stored(tmp_path):
    page = LivePage(tmp_path)
    s = session.start(data=tmp_path, board=small_board(16), live=False, progress=False)
    s.RE.subscribe(page.live)
    with pytest.raises(RunEngineInterrupted):
        s.RE(interrupted(s.scan(0.5, 1.0), 300))
    (begun,) = page.live.under_way()
    with served(page) as client:
        shown = [text_of(client, address) for address in ("/runs", f"/runs/{begun['uid']}")]
        page.live("stop", {"uid": "its last", "run_start": begun["uid"], "exit_status": "success", "time": 0.0})
        later = [text_of(client, address) for address in ("/runs", f"/runs/{begun['uid']}")]
    s.RE.abort()
    assert [text.count('"badge running"') for text in shown] == [1, 1]
    assert [text.count('"badge success"') for text in later] == [1, 1]
    assert ">Scan 1<" in shown[0]  # it has no sample


def test_a_scan_that_was_completed_and_the_one_that_did_it_name_each_other(tmp_path):
    s = session.start(data=tmp_path, board=small_board(16), live=False, progress=False)
    with pytest.raises(RunEngineInterrupted):
        s.RE(interrupted(s.scan(0.5, 1.0), 600))
    (part,) = s.RE.abort("enough")
    (rest,) = s.RE(s.resume_scan())
    with served(LivePage(tmp_path)) as client:
        assert f'Completed by</dt><dd><a href="/runs/{rest}">' in text_of(client, f"/runs/{part}")
        shown = text_of(client, f"/runs/{rest}")
        assert f'Resumes</dt><dd><a href="/runs/{part}">' in shown
        assert "s, its exposures simulated<" in shown
        assert f"patterns, the rest of {part[:8]}," in text_of(client, "/runs")


def test_files_and_documents_of_a_run_are_those_of_the_catalog(client, stored):
    nexus = client.get(f"/runs/{stored.uid}/file.nexus")
    assert re.fullmatch(r'attachment; filename="run-\d+-\w{8}\.nxs"', nexus.headers["content-disposition"])
    with h5py.File(io.BytesIO(nexus.content)) as file:
        assert file.attrs["default"]
    assert client.get(f"/runs/{stored.uid}/file.csv").text.count("\n") > 128
    documents = client.get(f"/runs/{stored.uid}/documents.json").json()
    names = [one["name"] for one in documents]
    assert (names[0], names[-1], set(names)) == ("start", "stop", {"start", "descriptor", "stop"})
    assert documents[0]["document"]["uid"] == stored.uid


def test_what_users_write_into_a_run_is_text(client, stored, page, documents, RE, beamline):
    RE(small_scan(beamline, 8, md={"sample": HOSTILE}))
    for name, document in documents:
        page.live(name, document)
    for address in ("/", "/runs", f"/runs/{stored.uid}", "/runs?q=%3Cscript%3E", "/plan?current_pA=%3Cscript%3E"):
        assert "<script>alert" not in text_of(client, address), address
        assert "<script>'" not in text_of(client, address), address


def test_runs_of_other_programs_are_listed_and_shown(tmp_path):
    catalog = open_catalog(tmp_path, to_write=True)
    odd = [{}, {"plan_name": "count", "cxgi": "theirs"}, {"cxgi": {"board": 3, "pattern_set": 4, "purpose": None}}]
    uids = []
    for metadata in odd:
        run = compose_run(metadata=metadata)
        writer_of(catalog).write_runs([[("start", run.start_doc), ("stop", run.compose_stop())]])
        uids.append(run.start_doc["uid"])
    with served(LivePage(tmp_path)) as client:
        listed = text_of(client, "/runs")
        for uid in uids:
            assert uid in listed
            assert uid in text_of(client, f"/runs/{uid}")
            assert client.get(f"/runs/{uid}/documents.json").json()[0]["document"]["uid"] == uid
            assert client.get(f"/runs/{uid}/file.csv").status_code == 404


def test_a_plan_is_that_of_the_command_and_what_cannot_be_is_told(client, capsys):
    shown = text_of(client, "/plan?current_pA=15&amount=20min")
    assert main(["plan", "--current-pA", "15", "--time", "20min", "--json"]) == 0
    best = json.loads(capsys.readouterr().out)["best"]
    assert best["call"].replace('"', "&#34;") in shown
    assert f"<strong>{best['patterns']} patterns</strong>" in shown
    assert "give a number" in text_of(client, "/plan?current_pA=much")
    assert "is none of" in text_of(client, "/plan?current_pA=15&board=/etc/passwd")


def test_a_folder_without_runs_says_so(tmp_path):
    with served(LivePage(tmp_path / "none")) as client:
        assert "No run is stored yet" in text_of(client, "/runs")
        assert client.get("/state.json").json() == {"phase": "none", "others": 0}
        assert client.get("/runs/12345678").status_code == 404


# ---------------------------------------------------------------- who may ask for what


@pytest.mark.parametrize("host", ["evil.example", "localhost.evil.example", "", "127.0.0.1@evil.example", "[::1"])
def test_a_name_that_is_not_ours_is_refused(client, host):
    answer = client.get("/", headers={"host": host})
    assert answer.status_code == 421
    assert "cxgi" in answer.text


@pytest.mark.parametrize("host", ["localhost:8064", "127.0.0.1:1", "[::1]:8064", "10.0.0.7", socket.gethostname()])
def test_names_of_the_machine_and_numbers_are_ours(client, host):
    assert client.get("/state.json", headers={"host": host}).status_code == 200


def test_a_name_that_was_given_is_ours(stored):
    with served(LivePage(stored.folder, names=["bl7.example"])) as client:
        assert client.get("/state.json", headers={"host": "bl7.example"}).status_code == 200


@pytest.mark.parametrize("address", ["/", "/runs", "/nothing", "/static/style.css"])
def test_browsers_are_told_to_load_nothing_from_elsewhere(client, address):
    headers = client.get(address).headers
    policy = headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert (headers["x-content-type-options"], headers["x-frame-options"]) == ("nosniff", "DENY")


@pytest.mark.parametrize("address", [
    "/static/..%2Fserver.py", "/static/%2e%2e/server.py", "/runs/..%2F..%2Fetc%2Fpasswd", "/runs/%00%00%00%00%00",
    "/live/..%2Fx.png", "/runs/{uid}/file.pickle", "/runs/{uid}/masks.small.png", "/runs/" + "a" * 500,
])  # fmt: skip
def test_paths_lead_nowhere_else(client, stored, address):
    assert client.get(address.format(uid=stored.uid)).status_code == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_nothing_can_be_changed(client, stored, method):
    for address in ("/", "/runs", f"/runs/{stored.uid}", "/plan", "/events"):
        assert client.request(method, address).status_code == 405


def test_too_many_requests_for_files_are_told_to_come_later(client, page, stored, monkeypatch):
    monkeypatch.setattr("cxgi_bluesky.web.server.MAX_WAITING", -1)
    assert client.get(f"/runs/{stored.uid}/file.nexus").status_code == 503


@pytest.mark.parametrize(("arguments", "message"), [
    (["--from", "ftp://here"], "give 0mq://HOST:PORT or tiled://HOST:PORT"),
    (["--from", "tiled://here:1", "--data", "."], "leave it out"),
    (["--port", "99999"], "give one of 1 to 65535"),
    (["--host", "192.0.2.1", "--port", "0"], "choose another --port"),
])  # fmt: skip
def test_what_cannot_be_served_is_one_line(arguments, message, capsys, tmp_path, monkeypatch):
    monkeypatch.setenv("CXGI_DATA", str(tmp_path))
    assert main(["web", *arguments]) == 2
    error = capsys.readouterr().err
    assert message in error
    assert error.count("\n") == 1


def test_pngs_are_made_once_for_all():
    made, pngs = [], PngStore()

    def make() -> bytes:
        made.append(time.monotonic())
        return grey_png(smooth_image(8))

    assert pngs.get_or_make("one", make) is pngs.get_or_make("one", make)
    assert len(made) == 1
