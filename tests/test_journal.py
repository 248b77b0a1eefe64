from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from cxgi_bluesky.catalog import find_run, open_catalog, read_exposures, summarise
from cxgi_bluesky.exposures import Exposures
from cxgi_bluesky.journal import Journal, left_over
from cxgi_bluesky.measurement import Measurement
from tests.conftest import small_scan


def test_every_document_is_on_disk_at_once(RE, documents, beamline, tmp_path):
    journal, seen = Journal(tmp_path), []
    RE.subscribe(journal)
    RE.subscribe(lambda *_: seen.append(len(next(tmp_path.glob("*.jsonl")).read_text().splitlines())))
    RE(small_scan(beamline, 6, dark_exposures=1))
    journal.close()
    assert seen == list(range(1, len(documents) + 1))


def test_what_is_read_back_is_what_was_written(RE, documents, beamline, tmp_path):
    journal = Journal(tmp_path)
    RE.subscribe(journal)
    RE(small_scan(beamline, 6, dark_exposures=1))
    journal.close()
    ((_, again),) = left_over(tmp_path)
    one, two = (Exposures.from_documents(d) for d in (documents, again))
    assert one.streams == two.streams


def test_a_stored_run_leaves_no_journal(RE, beamline, tmp_path):
    journal = Journal(tmp_path)
    RE.subscribe(journal)
    RE.subscribe(lambda *_: journal.forget(), "stop")
    RE(small_scan(beamline, 6, dark_exposures=1))
    RE(small_scan(beamline, 6, dark_exposures=1))
    assert not list(tmp_path.iterdir())


def test_a_journal_in_use_is_left_alone(RE, beamline, tmp_path):
    journal = Journal(tmp_path)
    RE.subscribe(journal)
    RE(small_scan(beamline, 6, dark_exposures=1))
    assert not list(left_over(tmp_path))
    journal.close()
    assert len(list(left_over(tmp_path))) == 1


def test_a_line_that_was_cut_off_loses_only_itself(RE, documents, beamline, tmp_path):
    journal = Journal(tmp_path)
    RE.subscribe(journal)
    RE(small_scan(beamline, 6, dark_exposures=1))
    journal.close()
    (path,) = tmp_path.glob("*.jsonl")
    text = path.read_text()
    path.write_text(text[: text.rindex('["event"') + 40])
    ((_, again),) = left_over(tmp_path)
    assert again[-1][0] == "stop"
    assert again[-1][1]["exit_status"] == "abort"
    assert sum(name == "event" for name, _ in again) == len(documents.of("event")) - 1


def test_rubbish_is_left_alone(tmp_path):
    (tmp_path / "a.jsonl").write_text("not json\n")
    (tmp_path / "b.jsonl").write_text(json.dumps(["event", {}]) + "\n")
    (tmp_path / "c.jsonl").write_text("3\n")
    (tmp_path / "d.jsonl").write_text('["start", {"uid": "d"}]\n["event", {"descriptor": "unknown"}]\n')
    assert not list(left_over(tmp_path))


def test_a_journal_that_cannot_be_stored_does_not_keep_the_catalog_shut(tmp_path, caplog, initialised):
    initialised(tmp_path)
    journal = tmp_path / "journal" / "bad.jsonl"
    journal.parent.mkdir()
    journal.write_text('["start", {"uid": "bad"}]\n["descriptor", {"uid": "a", "name": "primary"}]\n')
    catalog = open_catalog(tmp_path)
    assert len(catalog) <= 1
    assert journal.exists()
    assert "run bad could not be recovered" in caplog.text


def test_a_journal_that_cannot_be_written_ends_the_scan_safely(RE, beamline, tmp_path):
    (tmp_path / "file").write_text("")
    RE.subscribe(Journal(tmp_path / "file"))
    with pytest.raises(OSError, match="file"):
        RE(small_scan(beamline, 6, dark_exposures=1))
    assert beamline.shutter.state.get() == "closed"


@pytest.mark.timeout(180)
def test_a_killed_scan_loses_no_exposure(tmp_path, initialised):
    data = initialised(tmp_path / "data")
    environment = {**os.environ, "CXGI_DATA": str(data), "MPLBACKEND": "Agg"}
    command = [sys.executable, "-m", "cxgi_bluesky.cli", "demo", "--fraction", "1", "--out", str(tmp_path / "out")]
    process = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 90
        while sum(f.read_text().count('["event"') for f in data.glob("journal/*.jsonl")) < 60:
            assert process.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        process.send_signal(signal.SIGKILL)
        process.wait()
    (journal,) = data.glob("journal/*.jsonl")
    written = journal.read_text().count('["event"')
    catalog = open_catalog(data)
    exposures = read_exposures(find_run(catalog, journal.stem))
    assert sum(len(stream) for stream in exposures.streams.values()) == written
    assert len(exposures.streams["dark"]) == len(exposures.streams["incident"]) == 4
    assert Measurement.from_exposures(exposures).scale == "transmission"
    assert np.isfinite(Measurement.from_exposures(exposures).coefficient).all()
    assert summarise(find_run(catalog, journal.stem))["exit_status"] == "abort"
    assert not journal.exists()
