"""Processes that are killed while they scan: every event is in the catalog, once."""

from __future__ import annotations

import json
import random
import time
from collections import Counter

import pytest

from cxgi_bluesky.catalog import open_catalog, recover_journals
from tests.cases import long_case
from tests.patience import eventually
from tests.sharing import begin_together, read, scan_until_killed, stored_counts


@pytest.mark.timeout(1800)  # twenty processes, on a machine that may be busy
@pytest.mark.parametrize(("pairs", "every"), [(1, (10, 0)), long_case(10, (10, 7))])
def test_scans_that_are_killed_with_runs_in_their_middle_while_others_list_lose_nothing(
    tmp_path, start_child, pairs, every
):
    folder = tmp_path / "data"
    moments, reader = random.Random(pairs), start_child(read, folder, tmp_path / "stop")
    begin_together([reader])
    files = [tmp_path / f"documents-{number}" for number in range(2 * pairs)]
    for pair in zip(files[::2], files[1::2], strict=True):
        scanners = [start_child(scan_until_killed, folder, *each) for each in zip(pair, every, strict=True)]
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
