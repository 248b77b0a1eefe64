from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time

import numpy as np
import pytest

from cxgi_bluesky.catalog import find_run, open_catalog, read_exposures, recover_journals, summarise
from cxgi_bluesky.catalog import journal as module
from cxgi_bluesky.catalog.journal import Journal, journal_files, open_left_over, read_journal
from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.measurement.exposures import Exposures
from cxgi_bluesky.measurement.measurement import Measurement
from cxgi_bluesky.measurement.per_run import PerRun
from tests import warm
from tests.conftest import small_scan


@pytest.fixture
def journals(RE, tmp_path):
    """Journals of all runs of the engine, which stay open."""
    made = []

    def begin(start):
        made.append(Journal(tmp_path, start))
        return made[-1]

    RE.subscribe(PerRun(begin))
    yield made
    for journal in made:
        journal.close()


def test_every_document_is_on_disk_at_once(RE, documents, journals, beamline):
    seen = []
    RE.subscribe(lambda *_: seen.append(len(journals[0].path.read_text().splitlines())))
    RE(small_scan(beamline, 6, dark_exposures=1))
    assert seen == list(range(1, len(documents) + 1))


def test_what_is_read_back_is_what_was_written(RE, documents, journals, beamline):
    RE(small_scan(beamline, 6, dark_exposures=1))
    again = read_journal(journals[0].path)
    one, two = (Exposures.from_documents(d) for d in (documents, again.documents))
    assert one.streams == two.streams
    assert again.unreadable == 0


def test_a_journal_in_use_is_left_alone(RE, journals, beamline):
    RE(small_scan(beamline, 6, dark_exposures=1))
    with open_left_over(journals[0].path) as content:
        assert content is None
    journals[0].close()
    with open_left_over(journals[0].path) as content:
        assert content.documents[-1][0] == "stop"


def test_a_journal_is_called_so_only_once_it_is_locked_and_begun(tmp_path, monkeypatch):
    seen = []

    def look(file, line, write=module._write):
        seen.append(journal_files(tmp_path))
        write(file, line)

    monkeypatch.setattr(module, "_write", look)
    journal = Journal(tmp_path, {"uid": "a"})
    assert seen == [[]]
    assert journal_files(tmp_path) == [journal.path]
    journal.close()


def test_a_start_that_json_cannot_hold_leaves_no_journal_behind(tmp_path):
    with pytest.raises(TypeError, match="object"):
        Journal(tmp_path, {"uid": "a", "what": object()})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    "bad",
    [b"\xff\n", b"not json\n", b"3\n", b'["event"]\n', b'["who", {}]\n', b'["event", 3]\n', b"[" * 100_000 + b"\n"],
)
def test_a_line_that_cannot_be_read_loses_only_itself(RE, documents, journals, beamline, bad):
    RE(small_scan(beamline, 6, dark_exposures=1))
    path = journals[0].path
    lines = path.read_bytes().splitlines(keepends=True)
    path.write_bytes(b"".join([*lines[:5], bad, *lines[6:]]))
    again = read_journal(path)
    assert again.unreadable == 1
    assert len(again.documents) == len(documents) - 1


def test_after_a_torn_line_the_next_one_begins_anew(tmp_path, monkeypatch):
    journal = Journal(tmp_path, {"uid": "a"})

    def half(file, line, write=module._write):
        write(file, line[: len(line) // 2])
        raise OSError("no space left")

    monkeypatch.setattr(module, "_write", half)
    with pytest.raises(OSError, match="no space left"):
        journal("event", {"seq_num": 1})
    monkeypatch.undo()
    journal("stop", {"uid": "s"})
    journal.close()
    again = read_journal(journal.path)
    assert [name for name, _ in again.documents] == ["start", "stop"]
    assert again.unreadable == 1


def test_a_journal_that_cannot_be_written_ends_the_scan_safely(RE, beamline, tmp_path):
    (tmp_path / "file").write_text("")
    RE.subscribe(PerRun(lambda start: Journal(tmp_path / "file", start)))
    with pytest.raises(OSError, match="file"):
        RE(small_scan(beamline, 6, dark_exposures=1))
    assert beamline.shutter.state.get() == "closed"


def test_another_thread_brings_journals_to_the_disk_the_stop_document_at_once(tmp_path, monkeypatch):
    written, threads = threading.Event(), []

    def note(file, fsync=os.fsync):
        threads.append(threading.current_thread())
        written.set()
        fsync(file)

    monkeypatch.setattr(os, "fsync", note)
    journal = Journal(tmp_path, {"uid": "a"})
    for name in ("start", "event", "stop"):
        if name != "start":
            journal(name, {})
        assert written.wait(30)
        written.clear()
    journal.close()
    assert threading.main_thread() not in threads


@pytest.mark.parametrize("uid", ["../x", "/tmp/x", "..", ".hidden", "a/b", "a\0b", "", "x" * 300])
def test_a_uid_that_is_a_path_is_refused_and_nothing_is_written(uid, tmp_path):
    with pytest.raises(CxgiError, match="its journal is named after it"):
        Journal(tmp_path / "journal", {"uid": uid, "time": 0.0})
    assert not list(tmp_path.rglob("*"))


# ---------------------------------------------------------------- a process that is killed


@pytest.mark.long
def test_a_killed_demo_loses_no_exposure(tmp_path):
    data = tmp_path / "data"
    environment = {**os.environ, "CXGI_DATA": str(data), "MPLBACKEND": "Agg"}
    command = [sys.executable, "-m", "cxgi_bluesky.cli", "demo", "--fraction", "1", "--out", str(tmp_path / "out")]
    process = warm.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        while sum(f.read_text().count('["event') for f in data.glob("journal/*.jsonl")) < 60:
            assert process.poll() is None
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    (journal,) = data.glob("journal/*.jsonl")
    written = sum(name.startswith("event") for name, _ in read_journal(journal).documents)
    catalog = open_catalog(data)
    assert recover_journals(catalog).recovered == [journal.stem]
    exposures = read_exposures(find_run(catalog, journal.stem))
    assert sum(len(stream) for stream in exposures.streams.values()) == written
    assert len(exposures.streams["dark"]) == len(exposures.streams["incident"]) == 4
    assert Measurement.from_exposures(exposures).scale == "transmission"
    assert np.isfinite(Measurement.from_exposures(exposures).coefficient).all()
    assert summarise(find_run(catalog, journal.stem))["exit_status"] == "abort"
    assert not journal.exists()
    assert (journal.parent / "done" / journal.name).exists()
