"""The thread that writes into the catalog: it waits, tries again, and ends before its process does."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import textwrap
import threading

import pytest
from tiled.client.dataframe import DataFrameClient

from cxgi_bluesky.catalog import (
    CatalogWriter,
    RunStore,
    find_run,
    read_exposures,
    recover_journals,
    waiting_runs,
    writer,
    writer_of,
)
from cxgi_bluesky.catalog.embedded import open_embedded
from cxgi_bluesky.catalog.tiled_adapter import batch_size
from cxgi_bluesky.errors import CxgiError, StorageError
from tests import warm
from tests.conftest import ALONE, small_scan
from tests.patience import PATIENCE_S, eventually
from tests.sharing import Child, begin_together, lock


@pytest.fixture
def refuse(monkeypatch):
    """Let the catalog refuse what it is given next, so many times."""

    def times(number):
        left, append = iter(range(number)), DataFrameClient.append_partition

        def append_or_refuse(self, *arguments):
            if next(left, None) is not None:
                raise OSError("disk full")
            return append(self, *arguments)

        monkeypatch.setattr(DataFrameClient, "append_partition", append_or_refuse)

    return times


def test_a_run_that_was_refused_is_written_again_and_again_until_it_is_taken(
    RE, beamline, folder, catalog, refuse, monkeypatch, caplog
):
    monkeypatch.setattr(writer, "PAUSES_S", (0.01,) * 9)
    RE.subscribe(RunStore(writer_of(catalog)))
    refuse(4)
    (uid,) = RE(small_scan(beamline, 12, **ALONE))
    eventually(lambda: f"run {uid[:8]} is in the catalog now" in caplog.text, True)
    assert len(read_exposures(find_run(catalog, uid))) == 12
    assert caplog.text.count("is safe in its journal") == 1


def test_a_run_that_is_never_taken_is_left_to_be_recovered(RE, beamline, folder, catalog, refuse, monkeypatch, caplog):
    monkeypatch.setattr(writer, "PAUSES_S", ())
    RE.subscribe(RunStore(writer_of(catalog)))
    refuse(2)
    (uid,) = RE(small_scan(beamline, 12, **ALONE))
    eventually(lambda: [waiting.path.stem for waiting in waiting_runs(folder)], [uid])
    assert f"run {uid[:8]} waits in" in caplog.text
    assert recover_journals(catalog).recovered == [uid]
    assert len(read_exposures(find_run(catalog, uid))) == 12


@pytest.mark.long
def test_a_process_ends_while_others_have_the_catalog_locked(folder, catalog, tmp_path):
    """Tiled in that process would never end, were it told to in the middle of a write."""
    code = """
        import json, sys
        from pathlib import Path
        from cxgi_bluesky.catalog import writer
        from tests.sharing import begun
        writer.STOP_S, writer.END_S = 0.0, 0.1
        engine, plan = begun(Path(sys.argv[1]), 24)
        print("begun", flush=True)
        sys.stdin.readline()
        print(json.dumps(engine(plan())))
    """
    words = [sys.executable, "-c", textwrap.dedent(code), str(folder)]
    process = warm.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    locker = Child(lock, tmp_path / "errors", folder, tmp_path / "stop", 8.0)
    try:
        assert process.stdout.readline() == "begun\n"
        begin_together([locker])
        out, errors = process.communicate("\n", timeout=PATIENCE_S)
        (tmp_path / "stop").touch()
        assert locker.result() > 0
    finally:
        process.kill()
        locker.kill()
    assert process.returncode == 0, errors
    assert "the catalog did not take everything" in errors
    (uid,) = json.loads(out)
    recover_journals(catalog)
    assert len(read_exposures(find_run(catalog, uid))) == 24


@pytest.mark.parametrize(
    ("exposure_s", "exposures"), [(0.1, 128), (1, 30), (10.0, 3), (100.0, 1), (0, 128), ("long", 128), (None, 128)]
)
def test_who_reads_a_scan_that_is_under_way_is_half_a_minute_behind(exposure_s, exposures):
    assert batch_size({"cxgi": {"exposure_s": exposure_s}}) == exposures
    assert batch_size({"cxgi": "text"}) == batch_size({}) == 128


def test_a_catalog_that_was_opened_by_other_means_has_no_writer():
    class Other:
        context = object()

    with pytest.raises(CxgiError, match="only a catalog of open_catalog"):
        writer_of(Other())


def test_a_process_that_ends_at_once_writes_what_is_there_first_and_uses_no_other_httpx(folder, catalog, tmp_path):
    """Another httpx, beside Tiled's own, is in its path."""
    (tmp_path / "httpx2.py").write_text("raise AssertionError('starlette would take it, Tiled would not')")
    code = """
        import json, sys
        from cxgi_bluesky.catalog import writer
        from pathlib import Path
        from tests.sharing import begun
        writer.STOP_S = 0.0  # the engine does not wait
        engine, plan = begun(Path(sys.argv[1]), 24)
        print(json.dumps(engine(plan())))
    """
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")])}
    words = [sys.executable, "-c", textwrap.dedent(code), str(folder)]
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, done.stderr
    assert "Traceback" not in done.stderr
    (uid,) = json.loads(done.stdout)
    assert len(read_exposures(find_run(catalog, uid))) == 24
    assert not waiting_runs(folder)


# ---------------------------------------------------------------- a catalog that is opened behind


def two_runs(RE, beamline):
    return [RE(small_scan(beamline, 12, **ALONE))[0] for _ in range(2)]


def test_scans_go_on_while_the_catalog_is_opened_and_it_has_them_then(RE, beamline, tmp_path, monkeypatch, caplog):
    for name in ("STOP_S", "BEHIND_S"):
        monkeypatch.setattr(writer, name, 0.1)
    monkeypatch.setattr(writer, "OPENED_S", 0.2)
    may_open = threading.Event()
    behind = CatalogWriter(None, tmp_path, opens=lambda: may_open.wait() and open_embedded(tmp_path, to_write=True))
    behind.open_behind()
    RE.subscribe(RunStore(behind))
    uids = two_runs(RE, beamline)
    assert len(list((tmp_path / "journal").glob("*.jsonl"))) == 2
    assert "the run begins without it, and is stored when it is open" in caplog.text
    assert re.search(rf"run {uids[0][:8]} is safe in its journal, .*jsonl; the catalog follows by itself", caplog.text)
    assert not re.search(r"\d s\b", caplog.text)  # no seconds that nobody can know
    may_open.set()
    assert [len(read_exposures(find_run(behind.catalog, uid))) for uid in uids] == [12, 12]


def test_a_run_begins_when_a_catalog_that_is_slow_to_open_is_there(RE, beamline, tmp_path, monkeypatch, caplog):
    monkeypatch.setattr(writer, "STOP_S", 0.01)

    def opens():
        eventually(lambda: "the catalog is being opened" in caplog.text, True)
        return open_embedded(tmp_path, to_write=True)

    behind = CatalogWriter(None, tmp_path, opens=opens)
    behind.open_behind()
    RE.subscribe(RunStore(behind))
    RE.subscribe(lambda name, _: opened.append(behind._ready.is_set()) if name == "event" else None)
    opened = []
    RE(small_scan(beamline, 12, **ALONE))
    assert set(opened) == {True}


def test_a_catalog_that_cannot_be_opened_is_told_and_what_was_scanned_is_stored_when_it_can(
    RE, beamline, tmp_path, monkeypatch, caplog
):
    monkeypatch.setattr(writer, "PAUSES_S", ())
    left = iter([StorageError("the disk is away")] * 6)

    def opens():
        if (error := next(left, None)) is not None:
            raise error
        return open_embedded(tmp_path, to_write=True)

    behind = CatalogWriter(None, tmp_path, opens=opens)
    behind.open_behind()
    RE.subscribe(RunStore(behind))
    uids = two_runs(RE, beamline)  # each asks for the catalog twice
    assert "the disk is away; runs go into" in caplog.text
    with pytest.raises(CxgiError, match="the disk is away"):
        _ = behind.catalog
    assert sorted(recover_journals(behind.catalog).recovered) == sorted(uids)
    assert [len(read_exposures(find_run(behind.catalog, uid))) for uid in uids] == [12, 12]


def test_a_process_that_ends_while_its_catalog_is_opened_says_nothing(tmp_path):
    code = """
        import sys
        from cxgi_bluesky.catalog import prepare_writer
        prepare_writer(sys.argv[1]).open_behind()
    """
    words = [sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "data")]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_process_ends_while_its_threads_ask_the_catalog(tmp_path):
    code = """
        import sys, threading
        from contextlib import suppress
        from cxgi_bluesky.catalog import open_catalog
        catalog = open_catalog(sys.argv[1], to_write=True)
        asked = threading.Event()
        def ask():
            with suppress(BaseException):
                while True:
                    len(catalog)
                    asked.set()
        for _ in range(4):
            threading.Thread(target=ask, daemon=True).start()
        asked.wait()
    """
    for _ in range(4):  # each second one would hang
        done = warm.run([sys.executable, "-c", textwrap.dedent(code), str(tmp_path / "data")])
        assert (done.returncode, done.stderr) == (0, "")
