from __future__ import annotations

import io
import logging
import os
import re
import subprocess
import sys
import textwrap
import threading
import time
from dataclasses import replace

import bluesky.preprocessors as bpp
import numpy as np
import pytest
from bluesky import RunEngine
from bluesky.plans import count
from event_model import RunRouter
from matplotlib.backend_bases import KeyEvent
from matplotlib.figure import Figure
from PIL import Image

from cxgi_bluesky.callbacks import (
    LiveCHMWCNN,
    LiveCorrelation,
    LiveReconstruction,
    LiveTV,
    LiveTVAL3,
    LiveView,
    ReferenceRuns,
    ScanProgress,
)
from cxgi_bluesky.callbacks import live_reconstruction as module
from cxgi_bluesky.callbacks.live_view import draw_scan, has_display
from cxgi_bluesky.devices.simulated.beamline import simulated_beamline
from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.measurement.exposures import Exposures
from cxgi_bluesky.measurement.measurement import Measurement
from cxgi_bluesky.plans import dark_scan
from cxgi_bluesky.reconstruction.api import estimate_uncertainty, reconstruct
from cxgi_bluesky.reconstruction.result import Reconstruction
from tests.conftest import ALONE, QUIET, signed_measurement, small_board, small_scan, smooth_image
from tests.measurement.test_exposures import ALL, run_documents
from tests.nested_runs import nested
from tests.patience import PATIENCE_S, eventually


@pytest.mark.parametrize("method", ["correlation", "inverse", "tv"])
def test_last_live_picture_is_the_offline_one(RE, documents, beamline, method):
    live = LiveReconstruction(method, first=8, every=8)
    RE.subscribe(live)
    RE(small_scan(beamline, 24))
    offline = reconstruct(Measurement.from_documents(documents), method=method)
    np.testing.assert_array_equal(live.wait(timeout=PATIENCE_S).image, offline.image)
    assert live.failure is None


def test_a_live_image_has_the_uncertainty_that_was_asked_for(RE, documents, beamline):
    live = LiveReconstruction("inverse", first=8, every=8, details=True)
    RE.subscribe(live)
    RE(small_scan(beamline, 24))
    last, measurement = live.wait(timeout=PATIENCE_S), Measurement.from_documents(documents)
    np.testing.assert_array_equal(last.uncertainty, estimate_uncertainty(measurement, method="inverse"))
    assert last.uncertainty_kind == "noise"


def test_what_live_pictures_need_is_loaded_before_the_scan(tmp_path):
    """Loading a library in C holds up every thread, the engine's with the shutter open too: 0.3 to 0.5 s for torch."""
    done = subprocess.run([sys.executable, "-c", textwrap.dedent(f"""
        import sys
        from cxgi_bluesky.callbacks import LiveCHMWCNN, LiveCorrelation, LiveView
        from tests.conftest import signed_measurement, smooth_image
        view = LiveView({str(tmp_path / "live.png")!r}, window=False)
        live = LiveCHMWCNN(on_image=view.show), LiveCorrelation(on_image=view.show)
        loaded = set(sys.modules)
        from cxgi_bluesky import reconstruct
        for worker in live:
            view.show(reconstruct(signed_measurement(smooth_image(32)), method=worker.method))
        view.flush()
        new = set(sys.modules) - loaded
        print(sorted(name for name in new if str(getattr(sys.modules[name], "__file__", "")).endswith(".so")))
    """)], capture_output=True, text=True, timeout=PATIENCE_S, check=False)  # fmt: skip
    assert done.stdout.strip() == "[]", done.stderr
    assert (tmp_path / "live.png").exists()


def test_pages_of_events_make_the_same_picture(RE, documents, beamline):
    live, references, text = LiveCorrelation(first=8, every=8), ReferenceRuns(), io.StringIO()
    several = [live, references, ScanProgress(text)]
    RE.subscribe(RunRouter([lambda name, start: (several, [])]))
    RE(small_scan(beamline, 24))
    offline = reconstruct(Measurement.from_documents(documents), method="correlation")
    np.testing.assert_array_equal(live.wait().image, offline.image)
    assert "24/24" in text.getvalue()


def test_a_scan_that_began_before_is_left_alone_and_the_next_one_is_not(RE, beamline):
    live, seen = LiveCorrelation(first=8, every=8), []

    def late(name, document):
        if name == "descriptor" and not seen:
            seen.append(RE.subscribe(live))

    RE.subscribe(late)
    RE(small_scan(beamline, 24))
    assert (live.wait(), live.failure) == (None, None)
    RE(small_scan(beamline, 24))
    assert live.wait().exposures == 24


def test_a_scan_in_the_middle_of_a_scan_has_pictures_and_so_has_the_other_afterwards(RE, beamline):
    seen = []
    live = LiveCorrelation(first=8, every=8, on_image=lambda picture: seen.append(picture.exposures))
    RE.subscribe(live)

    other = simulated_beamline(small_board(), "CAS", parameters=QUIET)

    def inner():
        return bpp.set_run_key_wrapper(small_scan(other, 16), "inner")

    RE(nested(small_scan(beamline, 24), inner, 20))
    assert live.wait().exposures == 24
    assert 16 in seen
    assert seen[-1] == 24


def test_pictures_come_while_the_scan_runs(RE, beamline):
    seen = []
    live = LiveCorrelation(first=8, every=8, on_image=lambda picture: seen.append(picture.exposures))
    RE.subscribe(live)
    RE(small_scan(beamline, 24))
    live.wait(timeout=PATIENCE_S)
    assert seen[0] < 24
    assert seen[-1] == 24
    assert seen == sorted(seen)
    assert live.images == len(seen)
    with pytest.warns(FutureWarning, match="images"):  # its earlier name
        assert live.pictures == len(seen)


def test_a_slow_worker_drops_stale_requests_and_never_delays_the_scan(RE, beamline, monkeypatch):
    release = threading.Event()

    def slow(measurement, **options):
        release.wait(10)
        return reconstruct(measurement, **options)

    monkeypatch.setattr(module, "reconstruct", slow)
    live = LiveCorrelation(first=1, every=1)
    RE.subscribe(live)
    RE(small_scan(beamline, 24))  # would take minutes if the scan waited for images
    release.set()
    assert live.wait(timeout=PATIENCE_S).exposures == 24
    assert live.images <= 3


def test_a_failing_reconstruction_is_reported_and_never_stops_the_scan(RE, documents, beamline, monkeypatch, caplog):
    monkeypatch.setattr(module, "reconstruct", lambda *a, **k: 1 / 0)
    live = LiveCorrelation(first=8, every=8)
    RE.subscribe(live)
    with caplog.at_level(logging.WARNING):
        RE(small_scan(beamline, 24))
        live.wait(timeout=PATIENCE_S)
    assert documents.of("stop")[0]["exit_status"] == "success"
    assert isinstance(live.failure, ZeroDivisionError)
    warnings = [r for r in caplog.records if "the scan goes on" in r.getMessage()]
    assert len(warnings) == 1  # said once, not at every exposure


def test_a_failing_viewer_is_no_reason_to_stop(RE, documents, beamline):
    def broken(picture):
        raise OSError("no display")

    live = LiveCorrelation(first=8, every=8, on_image=broken)
    RE.subscribe(live)
    RE(small_scan(beamline, 24))
    assert live.wait(timeout=PATIENCE_S).exposures == 24
    assert documents.of("stop")[0]["exit_status"] == "success"


def test_weights_that_do_not_know_the_size_are_reported(RE, documents, beamline):
    live = LiveCHMWCNN(first=8, every=8)
    RE.subscribe(live)
    RE(small_scan(beamline, 24))
    assert live.wait(timeout=PATIENCE_S) is None
    assert isinstance(live.failure, CxgiError)
    assert "size 8" in str(live.failure)


def test_live_tv_starts_at_the_picture_before_and_ends_where_a_fresh_one_does(RE, documents):
    line = simulated_beamline(small_board(16), "CAS", parameters=QUIET)
    counts = []
    live = LiveTV(first=32, every=32, weight=0.02, on_image=lambda p: counts.append(p.parameters["iterations"]))
    RE.subscribe(live)
    RE(small_scan(line, 100))
    last = live.wait(timeout=PATIENCE_S)
    cold = reconstruct(Measurement.from_documents(documents), method="tv", weight=0.02)
    assert last.exposures == 100
    assert np.sqrt(np.mean((last.image - cold.image) ** 2)) < 0.01 * cold.image.std()
    assert live._options_for_run()["warm"] is not live._options_for_run()["warm"]  # no run starts at another's image


def test_live_tval3_starts_at_the_picture_before_and_ends_where_a_fresh_one_does(RE, documents):
    line = simulated_beamline(small_board(16), "CAS", parameters=QUIET)
    live = LiveTVAL3(first=32, every=32, tolerance=1e-5, iterations=2000)
    RE.subscribe(live)
    RE(small_scan(line, 100))
    last = live.wait(timeout=PATIENCE_S)
    cold = reconstruct(Measurement.from_documents(documents), method="tval3", tolerance=1e-5, iterations=2000)
    assert last.exposures == 100
    assert np.sqrt(np.mean((last.image - cold.image) ** 2)) < 0.01 * cold.image.std()
    assert live._options_for_run()["warm"] is not live._options_for_run()["warm"]


def test_a_live_image_is_without_the_dark_of_the_run_that_it_names(RE, documents):
    line = simulated_beamline(
        small_board(), "CAS", parameters=replace(QUIET, detector=replace(QUIET.detector, background_pa=1.0))
    )
    references = ReferenceRuns()
    live = LiveCorrelation(first=8, every=8, references=references)
    for callback in (references, live):
        RE.subscribe(callback)
    (dark,) = RE(dark_scan(line.shutter, line.diode, exposure_s=1.0))
    documents.clear()
    RE(small_scan(line, 24, dark_exposures=0, dark_uid=dark))
    measurement = Measurement.from_exposures(Exposures.from_documents(documents), dark=references.get(dark))
    offline = reconstruct(measurement, method="correlation")
    np.testing.assert_array_equal(live.wait(timeout=PATIENCE_S).image, offline.image)
    assert live.latest.source["dark_subtracted"] == pytest.approx(1.0, abs=0.01)


@pytest.mark.parametrize(("first", "every", "due"), [(32, 16, [32, 48]), (20, 16, [20, 36, 52]), (1, 25, [1, 26, 51])])
def test_images_are_due_after_the_first_exposures_and_then_after_so_many_more(first, every, due):
    (_, start), *documents, _ = run_documents([("primary", k, 1.0) for k in range(60)])
    run, seen = module._LiveRun(start, first, every), []
    for name, document in documents:
        run.take(name, document)
        if run._wanted:
            seen.append(len(run.next_request()))
    assert seen == due


def test_two_runs_do_not_mix(RE, beamline):
    live = LiveCorrelation(first=8, every=8)
    RE.subscribe(live)
    RE(small_scan(beamline, 24))
    first = live.wait(timeout=PATIENCE_S)
    RE(small_scan(beamline, 16))
    assert live.wait(timeout=PATIENCE_S).exposures == 16
    assert first.exposures == 24


def test_a_late_picture_of_an_old_run_is_not_shown(RE, beamline, monkeypatch):
    started, release, shown = threading.Event(), threading.Event(), []

    def slow_for_the_first_run(measurement, **options):
        result = reconstruct(measurement, **options)
        if not started.is_set():
            started.set()
            release.wait(10)
        return result

    monkeypatch.setattr(module, "reconstruct", slow_for_the_first_run)
    live = LiveCorrelation(first=8, every=8, on_image=lambda picture: shown.append(picture.exposures))
    RE.subscribe(live)
    RE(small_scan(beamline, 16))
    assert started.wait(10)
    RE(small_scan(beamline, 24))
    assert live.wait(timeout=PATIENCE_S).exposures == 24
    release.set()
    live.close()
    time.sleep(0.1)
    assert live.latest.exposures == 24
    assert shown[-1] == 24


def test_closing_does_not_wait_for_a_run_that_never_ended():
    live = LiveCorrelation()
    for name, document in list(run_documents(ALL))[:-1]:
        live(name, document)
    live.close(timeout=PATIENCE_S)
    assert all(run.finished.is_set() for run in live._runs)


def test_other_runs_are_ignored_and_do_not_cost_the_last_picture(RE, beamline):
    live = LiveCorrelation(first=8, every=8)
    RE.subscribe(live)
    RE(count([beamline.diode], 3))
    assert live.wait(timeout=1) is None
    RE(small_scan(beamline, 24))
    RE(count([beamline.diode], 3))
    assert live.wait(timeout=PATIENCE_S).exposures == 24
    assert live.failure is None


def test_bad_documents_never_raise():
    live = LiveCorrelation()
    live("start", {"uid": "x", "cxgi": {"purpose": "image", "pattern_set": {}, "schema": 99}})
    live("event", {"nonsense": 1})
    assert isinstance(live.failure, CxgiError)


def test_unknown_methods_are_refused_at_once():
    with pytest.raises(CxgiError, match="'magic'"):
        LiveReconstruction("magic")


def test_view_writes_a_picture_that_updates(RE, beamline, tmp_path):
    view = LiveView(tmp_path / "live.png", interval_s=0.0, window=False)
    live = LiveCorrelation(first=8, every=8, on_image=view.show)
    RE.subscribe(live)
    RE(small_scan(beamline, 24))
    live.wait(timeout=PATIENCE_S)
    view.flush()
    with Image.open(tmp_path / "live.png") as picture:
        assert min(picture.size) > 200
        assert np.ptp(np.asarray(picture.convert("L"))) > 100
    assert [f.name for f in tmp_path.iterdir()] == ["live.png"]


def test_view_draws_no_more_often_than_told(tmp_path, RE, beamline):
    view = LiveView(tmp_path / "live.png", interval_s=3600, window=False)
    live = LiveCorrelation(first=8, every=8, on_image=view.show)
    RE.subscribe(live)
    RE(small_scan(beamline, 24))
    live.wait(timeout=PATIENCE_S)
    drawn = (tmp_path / "live.png").stat().st_mtime_ns
    time.sleep(0.02)
    view.flush()
    assert (tmp_path / "live.png").stat().st_mtime_ns > drawn
    flushed = (tmp_path / "live.png").stat().st_mtime_ns
    view.flush()
    assert (tmp_path / "live.png").stat().st_mtime_ns == flushed


def test_the_last_image_and_the_end_of_a_scan_are_drawn_though_nobody_asks(tmp_path, RE, beamline):
    view = LiveView(tmp_path / "live.png", interval_s=0.5, window=False)
    live = LiveCorrelation(first=8, every=8, on_image=view.show)
    RE.subscribe(view)
    RE.subscribe(live)
    drawn = []
    write, view._write_file = view._write_file, lambda: drawn.append((live.latest.exposures, view._scan.end)) or write()
    RE(small_scan(beamline, 24))
    live.wait(timeout=PATIENCE_S)
    eventually(lambda: drawn, lambda seen: seen[-1:] == [(24, "success")])


def test_a_view_that_is_subscribed_shows_how_far_the_scan_is_and_no_exposure_waits_for_a_drawing(RE, beamline):
    view = LiveView(window=False)
    drawn = []

    def look(name, document):
        if name == "event" and document["seq_num"] in (1, 8):
            figure = Figure()
            draw_scan(figure, dict(view._results), view._scan, note="shutter open")
            drawn.append(figure.get_suptitle())

    RE.subscribe(view)
    RE.subscribe(look)
    with view._lock:  # as while an image is drawn
        (uid,) = RE(small_scan(beamline, 8, **ALONE, md={"sample": "gold"}))
    image = Reconstruction(
        np.eye(8), "relative", "tv", {}, 0.0, 8, source={"raw_uids": [uid]},
        quality={"psnr_db": 20.0, "psnr_low_db": 18.0, "psnr_high_db": 23.0},
    )  # fmt: skip
    view.show(image)
    draw_scan(first := Figure(), {"tv": image}, view._scan)
    assert first.axes[-1].texts[0].get_text() == "PSNR 20.0 dB (18.0 to 23.0, 68 %) with 8\npatterns"
    view.show(replace(image, exposures=9))
    view.show(replace(image, source={"raw_uids": ["of the scan before"]}, method="ch-mwcnn"))
    assert list(view._results) == ["tv"]
    assert drawn[0].startswith(f"scan 1 {uid[:8]} gold: 1 of 8 patterns")
    assert drawn[-1] == f"scan 1 {uid[:8]} gold: 8 of 8 patterns\nshutter open"
    draw_scan(figure := Figure(), {"tv": image}, view._scan)
    assert figure.get_suptitle().endswith("8 of 8 patterns, success")
    labels = [axis.get_ylabel() for axis in figure.axes]
    assert {"bucket (pA)", "PSNR (dB)"} <= set(labels)
    view.show(replace(image, uncertainty=np.eye(8), uncertainty_kind="error"))
    view.show(replace(image, exposures=12))  # the panel stays that of the image which has one
    draw_scan(figure, view._results, view._scan, certainty=view._certainty)
    titles = [axis.get_title() for axis in figure.axes]
    assert "uncertainty of tv, 8 patterns\none standard deviation\nof its whole error" in titles


def test_the_window_says_when_a_psnr_will_come(RE, beamline):
    view, shown = LiveView(window=False), []

    def look(name, document):
        draw_scan(figure := Figure(), {}, view._scan)
        shown.append(" ".join(text.get_text() for axis in figure.axes for text in axis.texts).replace("\n", " "))

    RE.subscribe(view)
    RE.subscribe(look, "event")
    RE.subscribe(look, "stop")
    RE(small_scan(beamline, 8, **ALONE, validation=16))
    assert shown[-2] == "PSNR: at the end, when all 8 patterns are measured"
    assert shown[-1] == ""


def test_a_key_of_the_window_does_what_it_says(caplog):
    pressed = []
    view = LiveView(window=False, keys={"s": ("stop after this tile", lambda: pressed.append("s"))})
    canvas = Figure().canvas
    for key in ("x", "s"):
        view._press(KeyEvent("key_press_event", canvas, key))
    assert pressed == ["s"]
    assert "key s: stop after this tile" in caplog.text


def test_a_key_that_can_do_nothing_says_so_and_the_window_stays(caplog):
    engine = RunEngine({})
    view = LiveView(window=False, keys={"p": ("pause", engine.request_pause)})
    view._press(KeyEvent("key_press_event", Figure().canvas, "p"))
    assert "key p does nothing now (Run Engine is in 'idle' state" in caplog.text


def test_no_window_without_a_display(monkeypatch):
    monkeypatch.setenv("MPLBACKEND", "agg")
    assert not has_display()
    monkeypatch.delenv("MPLBACKEND")
    monkeypatch.delenv("DISPLAY", raising=False)
    monkeypatch.delenv("WAYLAND_DISPLAY", raising=False)
    monkeypatch.setattr("sys.platform", "linux")
    assert not has_display()
    monkeypatch.setenv("DISPLAY", ":0")
    assert has_display()


def test_progress_counts_patterns_and_says_how_it_ended(RE, beamline):
    text = io.StringIO()
    RE.subscribe(ScanProgress(text))
    RE(small_scan(beamline, 8))
    assert "8/8" in text.getvalue()
    assert "success" in text.getvalue()


def test_a_window_that_cannot_be_opened_leaves_the_file(tmp_path, monkeypatch, caplog):
    def fail(self):
        raise RuntimeError("couldn't connect to display")

    monkeypatch.setattr(LiveView, "_make_window", fail)
    view = LiveView(tmp_path / "live.png", window=True)
    assert "no window for live images (RuntimeError: couldn't connect to display)" in caplog.text
    view.show(reconstruct(signed_measurement(smooth_image(8)), method="inverse"))
    assert (tmp_path / "live.png").exists()


def test_a_matplotlib_that_does_not_load_stops_nothing(tmp_path):
    code = """
        import logging, sys
        logging.basicConfig()
        from cxgi_bluesky.callbacks import LiveView
        LiveView(sys.argv[1], window=True)
        print("goes on")
    """
    environment = {**os.environ, "DISPLAY": ":0", "MPLBACKEND": "of no toolkit"}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "live.png")],
        env=environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False,
    )  # fmt: skip
    assert done.stdout == "goes on\n", done.stderr
    assert re.search("live images cannot be drawn: matplotlib does not load .*'of no toolkit'", done.stderr)
