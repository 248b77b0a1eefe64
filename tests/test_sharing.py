"""Several processes in one data folder, and processes that are killed: every event is in the catalog, once."""

from __future__ import annotations

import json
import random
import time
from collections import Counter

import pytest

from cxgi_bluesky.catalog import open_catalog, recover_journals
from cxgi_bluesky.catalog.recovery import stored_documents
from tests.cases import long_case
from tests.patience import eventually
from tests.sharing import Child, begin_together, lock, read, scan, scan_until_killed


@pytest.fixture
def start(tmp_path):
    """Start processes; those that still run are killed in the end."""
    children = []

    def begin(work, *arguments):
        children.append(Child(work, tmp_path / f"errors-{len(children)}", *arguments))
        return children[-1]

    yield begin
    for child in children:
        child.kill()


def stored_counts(catalog, uid):
    """Events of a run in the catalog by stream; each is there once."""
    documents = stored_documents(catalog, uid)
    stream_of = {d["uid"]: d["name"] for name, d in documents if name == "descriptor"}
    keys = [(stream_of[d["descriptor"]], d["seq_num"], d["time"]) for name, d in documents if name == "event"]
    assert len(keys) == len(set(keys))
    return dict(Counter(stream for stream, _, _ in keys))


@pytest.mark.parametrize(("scans", "exposures", "seconds"), [(1, 24, 0.1), long_case(5, 200, 0.3)])
def test_two_scan_in_a_new_folder_while_others_read_and_lock_it(tmp_path, start, scans, exposures, seconds):
    folder, stop = tmp_path / "data", tmp_path / "stop"
    scanners = [start(scan, folder, scans, exposures) for _ in range(2)]
    reader, locker = start(read, folder, stop), start(lock, folder, stop, seconds)
    begin_together([*scanners, reader, locker])
    told = {uid: count for scanner in scanners for uid, count in scanner.result().items()}
    stop.touch()
    seen = reader.result()
    assert seen["listed"] > 0
    assert locker.result() > 0
    catalog = open_catalog(folder, to_write=True)
    recover_journals(catalog)
    assert len(told) == 2 * scans
    assert {uid: stored_counts(catalog, uid) for uid in told} == told
    numbers = [catalog[uid].metadata["start"]["scan_id"] for uid in told]
    assert sorted(numbers) == list(range(1, 2 * scans + 1))


@pytest.mark.timeout(1800)  # forty processes, on a machine that may be busy
@pytest.mark.parametrize("pairs", [1, long_case(10)])
def test_scans_that_are_killed_with_and_without_runs_in_the_middle_while_others_list_lose_nothing(
    tmp_path, start, pairs
):
    folder = tmp_path / "data"
    moments, reader = random.Random(pairs), start(read, folder, tmp_path / "stop")
    begin_together([reader])
    files = [tmp_path / f"documents-{number}" for number in range(2 * pairs)]
    for pair in zip(files[::2], files[1::2], strict=True):
        scanners = [start(scan_until_killed, folder, file, every) for file, every in zip(pair, (10, 0), strict=True)]
        eventually(lambda pair=pair: [file.exists() and file.stat().st_size > 0 for file in pair], [True, True])
        for scanner in scanners:
            time.sleep(moments.uniform(0.0, 1.0))
            scanner.kill()
    (tmp_path / "stop").touch()
    reader.result()
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
