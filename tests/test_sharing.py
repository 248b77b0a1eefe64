"""Several processes in one data folder, and processes that are killed: every event is in the catalog, once."""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from cxgi_bluesky.catalog import open_catalog, recover_journals
from cxgi_bluesky.catalog.recovery import stored_documents
from tests.cases import long_case
from tests.patience import PATIENCE_S, eventually

ROOT = Path(__file__).parents[1]


@pytest.fixture
def start():
    """Start processes of `tests.sharing`; those that still run are killed in the end."""
    started = []

    def begin(*words):
        command = [sys.executable, "-m", "tests.sharing", *map(str, words)]
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(command, cwd=ROOT, stdin=pipe, stdout=pipe, stderr=pipe, text=True))
        return started[-1]

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def begin_together(processes):
    for process in processes:
        assert process.stdout.readline() == "ready\n"
    for process in processes:
        process.stdin.write("\n")
        process.stdin.flush()


def result(process):
    """What a process has printed."""
    out, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 0, errors
    assert "Traceback" not in errors
    return json.loads(out.splitlines()[-1])


def stored_counts(catalog, uid):
    """Events of a run in the catalog by stream; each is there once."""
    documents = stored_documents(catalog, uid)
    stream_of = {d["uid"]: d["name"] for name, d in documents if name == "descriptor"}
    keys = [(stream_of[d["descriptor"]], d["seq_num"], d["time"]) for name, d in documents if name == "event"]
    assert len(keys) == len(set(keys))
    return dict(Counter(stream for stream, _, _ in keys))


@pytest.mark.parametrize(("scans", "exposures", "seconds"), [(1, 60, 0.1), long_case(5, 200, 0.3)])
def test_two_scan_in_a_new_folder_while_others_read_and_lock_it(tmp_path, start, scans, exposures, seconds):
    folder, stop = tmp_path / "data", tmp_path / "stop"
    scanners = [start("scan", folder, scans, exposures) for _ in range(2)]
    reader, locker = start("read", folder, stop), start("lock", folder, stop, seconds)
    begin_together([*scanners, reader, locker])
    told = {uid: count for scanner in scanners for uid, count in result(scanner).items()}
    stop.touch()
    seen = result(reader)
    assert seen["listed"] > 0
    assert result(locker) > 0
    catalog = open_catalog(folder, to_write=True)
    recover_journals(catalog)
    assert len(told) == 2 * scans
    assert {uid: stored_counts(catalog, uid) for uid in told} == told
    numbers = [catalog[uid].metadata["start"]["scan_id"] for uid in told]
    assert sorted(numbers) == list(range(1, 2 * scans + 1))


@pytest.mark.timeout(1800)  # forty starts of a process, on a machine that may be busy
@pytest.mark.parametrize("pairs", [1, long_case(10)])
def test_scans_that_are_killed_with_and_without_runs_in_the_middle_while_others_list_lose_nothing(
    tmp_path, start, initialised, pairs
):
    folder = initialised(tmp_path / "data")
    moments, reader = random.Random(pairs), start("read", folder, tmp_path / "stop")
    begin_together([reader])
    files = [tmp_path / f"documents-{number}" for number in range(2 * pairs)]
    for pair in zip(files[::2], files[1::2], strict=True):
        scanners = [start("until-killed", folder, file, every) for file, every in zip(pair, (10, 0), strict=True)]
        eventually(lambda pair=pair: [file.exists() and file.stat().st_size > 0 for file in pair], [True, True])
        for scanner in scanners:
            time.sleep(moments.uniform(0.0, 1.0))
            scanner.kill()
            scanner.communicate()
    (tmp_path / "stop").touch()
    result(reader)
    catalog = open_catalog(folder, to_write=True)
    recover_journals(catalog)
    assert not list((folder / "journal").glob("*.jsonl"))
    assert sum(check_all_are_stored(catalog, file) for file in files) > 0


def check_all_are_stored(catalog, documents):
    """Every event of which an engine was done is in the catalog, once; returns how many."""
    lines = documents.read_bytes().splitlines(keepends=True)
    seen = [json.loads(line) for line in lines if line.endswith(b"\n")]
    run_of = {d["uid"]: d["run_start"] for name, d in seen if name == "descriptor"}
    stream_of = {d["uid"]: d["name"] for name, d in seen if name == "descriptor"}
    told = Counter((run_of[d["descriptor"]], stream_of[d["descriptor"]]) for name, d in seen if name == "event")
    stored = {uid: stored_counts(catalog, uid) for uid in {d["uid"] for name, d in seen if name == "start"}}
    for (uid, stream), count in told.items():  # the journal may have had one more
        assert count <= stored[uid][stream] <= count + 1
    return sum(told.values())
