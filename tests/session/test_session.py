from __future__ import annotations

import json
import re
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from bluesky import RunEngine
from ophyd import Signal

from cxgi_bluesky import session
from cxgi_bluesky.analysis.knife_edge import fit_knife_edge
from cxgi_bluesky.catalog import find_run, last_scan, open_catalog, read_exposures
from cxgi_bluesky.cli.program import main
from cxgi_bluesky.devices.simulated.beamline import KNIFE_GEOMETRY, SimulatedKnife
from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.session.run_engine import StopAfterTile
from tests.conftest import ALONE, small_board, small_scan
from tests.nested_runs import log, nested
from tests.patience import PATIENCE_S

SHORT = {"dark_exposures": 0, "open_exposures": 0, "incident_exposures": 0}


@pytest.fixture(scope="module")
def s(tmp_path_factory):
    board = small_board(32, pixel_um=150.0, tile_pitch_um=4900.0, aperture_um=4800.0)
    return session.start(
        sim=True,
        data=tmp_path_factory.mktemp("data"),
        board=board,
        object_name="CAS",
        progress=False,
        seed=3,
    )


def test_a_session_scans_shows_stores_and_reconstructs(s):
    (uid,) = s.RE(s.scan(0.06, 1.0, md={"sample": "stencil"}))
    last = s.wait_for_images()
    assert set(last) == {"correlation", "ch-mwcnn"}
    assert (s.folder / "live.png").stat().st_size > 5000
    for method, picture in last.items():
        again = s.reconstruct(uid, method=method, record=False)
        np.testing.assert_allclose(picture.image, again.image, rtol=1e-5, atol=1e-6)
    known = set(s.catalog)
    assert s.reconstruct(method="tv").exposures == 61
    (derived,) = set(s.catalog) - known
    words = s.catalog[derived].metadata["start"]["cxgi"]
    assert words["raw_uids"] == [uid]
    assert words["subset"] is None
    few = s.pattern_set(0.03)
    assert s.reconstruct(method="inverse", pattern_set=few).exposures == few.count
    (early,) = set(s.catalog) - known - {derived}
    assert s.catalog[early].metadata["start"]["cxgi"]["subset"] == few.to_dict()
    start = s.catalog[uid].metadata["start"]
    assert start["versions"]["cxgi_bluesky"]
    assert start["sample"] == "stencil"


def test_the_spot_is_measured_with_a_knife(s, capsys):
    knife = SimulatedKnife(name="knife", axis="y", simulation=s.beamline.simulation)
    words = {"start_um": -70, "stop_um": 70, "points": 21, "exposure_s": 2.0, "slit": KNIFE_GEOMETRY}
    (uid,) = s.RE(s.plans.knife_edge_scan(knife, s.shutter, s.diode, **words))
    fit = fit_knife_edge(s.catalog[uid])
    assert fit.fwhm_um == pytest.approx(37, abs=4 * fit.fwhm_sigma_um)

    words = ["knife-edge", uid[:8], "--data", str(s.folder)]
    assert main([*words, "--json"]) == 0
    payload = json.loads(capsys.readouterr().out)
    assert payload["run"] == uid
    assert (payload["axis"], payload["points"]) == ("y", 21)
    assert (payload["fwhm_um"], payload["fwhm_sigma_um"]) == pytest.approx((fit.fwhm_um, fit.fwhm_sigma_um))
    assert main(words) == 0
    assert "spot along y: 3" in capsys.readouterr().out


@pytest.fixture
def shell(tmp_path, monkeypatch):
    """IPython in this process."""
    from IPython.core.interactiveshell import InteractiveShell

    monkeypatch.setenv("IPYTHONDIR", str(tmp_path))
    shell = InteractiveShell.instance(history_load_length=0)
    yield shell
    shell.restore_sys_module_state()
    InteractiveShell.clear_instance()


def test_in_ipython_the_magics_move_with_the_sessions_engine(s, shell):
    moved = []
    engine = RunEngine({})
    engine.msg_hook = lambda message: moved.append(message.command == "set")
    shell.user_ns["s"] = session.start(engine=engine, data=s.folder, beamline=s.beamline, live=False, progress=False)
    shell.run_cell("stage = s.stage\n%mov stage.tile 17").raise_error()
    assert s.stage.tile.position == 17
    assert any(moved)


def test_plans_take_the_sessions_devices(s):
    plan = s.plans.hadamard_scan(*s.devices, board=s.board, pattern_set=s.pattern_set(0.01), exposure_s=1.0)
    (uid,) = s.RE(plan)
    assert s.reconstruct(uid, method="inverse", record=False).scale == "relative"
    assert s.shutter.state.get() == "closed"


@pytest.fixture(scope="module")
def reference(s):
    """A reference scan, of which there are no live images."""
    (uid,) = s.RE(s.reference_scan(0.03))
    assert all(worker.latest is None or worker.latest.source["raw_uids"] != [uid] for worker in s.live)
    return uid


def test_live_pictures_are_corrected_by_the_reference_too(s, reference):
    (uid,) = s.RE(s.scan(0.03, reference_uid=reference[:8]))
    assert s.catalog[uid].metadata["start"]["cxgi"]["reference_uid"] == reference
    for method, picture in s.wait_for_images().items():
        assert picture.source["reference_uids"] == [reference]
        again = s.reconstruct(uid, method=method, record=False)
        np.testing.assert_allclose(picture.image, again.image, rtol=1e-5, atol=1e-6)


def test_a_reference_that_does_not_fit_is_refused_before_anything_is_exposed(s, reference):
    before = s.beamline.simulation.exposures
    with pytest.raises(CxgiError, match="another pattern set"):
        s.scan(0.06, reference_uid=reference)
    assert s.beamline.simulation.exposures == before
    (image,) = s.RE(s.scan(0.01, **SHORT))
    with pytest.raises(CxgiError, match="no reference scan"):
        s.scan(0.03, reference_uid=image)
    with pytest.raises(CxgiError, match="'feedbeef' is not in the catalog"):
        s.scan(0.03, reference_uid="feedbeef")


def test_a_dark_scan_that_does_not_fit_is_refused_before_anything_is_exposed(s):
    (dark,) = s.RE(s.plans.dark_scan(s.shutter, s.diode, exposure_s=1.0, exposures=2))
    (uid,) = s.RE(s.scan(0.01, **SHORT, dark_uid=dark[:8]))
    assert s.catalog[uid].metadata["start"]["cxgi"]["dark_uid"] == dark
    with pytest.raises(CxgiError, match="no dark scan"):
        s.scan(0.01, dark_uid=uid)
    with pytest.raises(CxgiError, match="'feedbeef' is not in the catalog"):
        s.scan(0.01, dark_uid="feedbeef")


def test_a_reference_that_was_cut_short_is_refused_before_anything_is_exposed(s):
    from bluesky.utils import RunEngineInterrupted

    from tests.plans.test_endings import interrupted

    with pytest.raises(RunEngineInterrupted):
        s.RE(interrupted(s.reference_scan(0.03), 300))
    (cut,) = s.RE.abort()
    with pytest.raises(CxgiError, match=r"the reference scan lacks \d+ of its 31 patterns: complete it"):
        s.scan(0.03, reference_uid=cut)


def test_an_image_that_takes_long_is_announced(s, caplog, monkeypatch):
    monkeypatch.setattr("cxgi_bluesky.session.session.NOTICE_S", 0.0)
    s.RE(s.scan(0.03))
    s.reconstruct(method="correlation", record=False)
    assert [record.message for record in caplog.records if "the image is being made" in record.message]


def test_devices_have_the_labels_by_which_ipython_lists_them(s):
    labels = {device.name: device._ophyd_labels_ for device in (*s.devices, s.object_stage, s.stage.tile, s.stage.x)}
    assert labels == {
        "stage": {"stages"},
        "shutter": {"shutters"},
        "diode": {"detectors"},
        "object_stage": {"stages"},
        "stage_tile": {"motors"},
        "stage_x": {"motors"},
    }


def test_an_abort_leaves_usable_exposures_and_a_resumed_scan_has_pictures_of_both_runs(s, caplog):
    from bluesky.utils import RunEngineInterrupted

    from tests.plans.test_endings import interrupted

    with pytest.raises(RunEngineInterrupted):
        s.RE(interrupted(s.scan(0.06, 1.0), 500))
    (cut_off,) = s.RE.abort()
    assert [record.exc_info for record in caplog.records if record.message == "Run aborted"] == [None]  # as asked
    assert s.shutter.state.get() == "closed"
    assert 20 < s.reconstruct(method="correlation", record=False).exposures < 61
    (uid,) = s.RE(s.resume_scan())
    last = s.wait_for_images()["correlation"]
    assert f"(rest of {cut_off[:8]})" in s.view._scan.title
    words = s.catalog[uid].metadata["start"]["cxgi"]
    assert words["resumes"] == cut_off
    whole = s.reconstruct(method="correlation", record=False)
    assert whole.exposures == 61
    assert whole.source["raw_uids"] == [cut_off, uid]
    np.testing.assert_allclose(last.image, whole.image, rtol=1e-5, atol=1e-6)
    with pytest.raises(CxgiError, match="nothing is missing"):
        s.RE(s.resume_scan(uid[:8]))


@pytest.mark.long  # tests/catalog/test_catalog_writer.py has the same without a session
def test_a_catalog_that_takes_nothing_ends_no_scan_and_the_scan_is_not_lost(s, monkeypatch, caplog):
    from tiled.client.dataframe import DataFrameClient

    def full(self, *args, **kwargs):
        raise OSError("disk full")

    before = s.shutter.openings.get()
    with monkeypatch.context() as patch:
        patch.setattr(DataFrameClient, "append_partition", full)
        (uid,) = s.RE(s.scan(0.07, 1.0))
        assert re.search(
            r"is safe in its journal, .*jsonl; the catalog is tried again \(OSError: disk full\)", caplog.text
        )
        with pytest.raises(CxgiError, match="1 run waits to be recovered"):
            s.reconstruct(method="inverse", record=False)  # an older scan is not what was meant
    assert s.reconstruct(method="inverse", record=False).source["raw_uids"] == [uid]
    stored = read_exposures(find_run(s.catalog, uid))
    opened = sum(len(stream) for name, stream in stored.streams.items() if name != "dark")
    assert opened == s.shutter.openings.get() - before
    assert not list((s.folder / "journal").glob("*.jsonl"))


def test_a_run_in_the_middle_of_a_scan_harms_neither(s):
    temperature = Signal(name="temperature", value=300.0)
    plan = nested(s.scan(0.03, 1.0), lambda: log(temperature, key="temperature", purpose="temperature"), every=12)
    uid, *others = s.RE(plan)
    assert len(others) >= 3
    assert s.wait_for_images()["correlation"].exposures == 31
    assert s.reconstruct(method="inverse", record=False).source["raw_uids"] == [uid]
    for run, count in [(uid, 31), *((other, 1) for other in others)]:
        assert find_run(s.catalog, run).metadata["stop"]["num_events"]["primary"] == count
        assert len(find_run(s.catalog, run)["primary"].base["internal"].read()) == count


def test_an_engine_without_signal_handling_runs_in_a_thread(s):
    def work():
        engine = RunEngine({}, context_managers=[])  # as in a queue's worker
        other = session.start(engine=engine, data=s.folder, beamline=s.beamline, live=False, progress=False)
        return engine(other.scan(0.01, **SHORT))

    with ThreadPoolExecutor(1) as pool:
        (uid,) = pool.submit(work).result(PATIENCE_S)
    assert find_run(s.catalog, uid).metadata["stop"]["exit_status"] == "success"


def test_plans_for_a_queue_wait_for_devices_that_come_back(s, monkeypatch):
    waited = []
    monkeypatch.setattr(type(s.beamline), "wait_for_return", lambda self: waited.append(self))
    mask_scan, resume_scan = s.plans_by_uid()
    patterns = s.pattern_set(0.01).to_dict()
    (uid,) = s.RE(mask_scan(*s.devices, pattern_set=patterns, exposure_s=1.0, **SHORT))
    with pytest.raises(CxgiError, match="nothing is missing"):
        s.RE(resume_scan(*s.devices, uid=uid))
    assert waited == [s.beamline] * 2


def test_an_engine_that_is_there_already_keeps_its_own_metadata_and_numbers(s):
    engine = RunEngine({"proposal": 7, "scan_id": 41})
    other = session.start(engine=engine, data=s.folder, beamline=s.beamline, live=False, progress=False)
    assert other.RE is engine
    (uid,) = engine(other.scan(0.01, **SHORT))
    start = find_run(s.catalog, uid).metadata["start"]
    assert (start["proposal"], start["scan_id"]) == (7, 42)


def test_an_empty_catalog_has_no_last_scan(tmp_path):
    with pytest.raises(CxgiError, match="no scan in the catalog"):
        last_scan(open_catalog(tmp_path))


def test_real_devices_are_not_pretended():
    with pytest.raises(CxgiError, match="sim=False"):
        session.start(sim=False)


def run_python(code: str, timeout: float = PATIENCE_S) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", textwrap.dedent(code)], capture_output=True, text=True, timeout=timeout, check=False
    )


def test_importing_the_package_imports_neither_torch_nor_bluesky():
    done = run_python("""
        import sys, cxgi_bluesky
        from cxgi_bluesky import PatternSet, Measurement, MaskBoard, reconstruct
        heavy = {"torch", "bluesky", "ophyd", "tiled", "databroker", "matplotlib", "scipy", "skimage"}
        print(sorted(heavy & set(sys.modules)))
    """)
    assert done.stdout.strip() == "[]", done.stderr


def test_importing_everything_starts_nothing(tmp_path):
    done = run_python(f"""
        import os, sys, threading, pathlib
        os.environ["CXGI_DATA"] = {str(tmp_path / "data")!r}
        os.environ["OPHYD_CONTROL_LAYER"] = "dummy"  # where there is pyepics, importing ophyd starts ophyd's threads
        import importlib, pkgutil, cxgi_bluesky
        for module in pkgutil.walk_packages(cxgi_bluesky.__path__, "cxgi_bluesky."):
            importlib.import_module(module.name)
        print(threading.active_count(), os.path.exists(os.environ["CXGI_DATA"]))
    """)
    assert done.stdout.split() == ["1", "False"], done.stderr


def test_names_of_the_package():
    import cxgi_bluesky

    for name in cxgi_bluesky.__all__:
        assert getattr(cxgi_bluesky, name)
    assert set(cxgi_bluesky.__all__) <= set(dir(cxgi_bluesky))
    with pytest.raises(AttributeError, match="no_such"):
        _ = cxgi_bluesky.no_such


def test_a_scan_that_is_asked_to_stop_ends_before_its_next_exposure_and_is_stored(RE, beamline):
    stop = StopAfterTile()
    RE.preprocessors.append(stop)
    exposed, ended = [], []

    def take(name, document):
        if name == "event" and "diode_current" in document["data"]:
            exposed.append(document["data"]["pattern_index"])
            if len(exposed) == 5:
                stop.request()
        elif name == "stop":
            ended.append(document["exit_status"])

    RE.subscribe(take)
    RE(small_scan(beamline, 24, **ALONE))
    assert (len(exposed), ended) == (5, ["success"])
    assert beamline.shutter.state.get() == "closed"
    RE(small_scan(beamline, 8, **ALONE))  # what was asked for is done: the next scan is whole
    assert len(exposed) == 5 + 8
