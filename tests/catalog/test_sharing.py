"""Several processes in one data folder: every event is in the catalog, once."""

from __future__ import annotations

import pytest

from cxgi_bluesky.catalog import open_catalog, recover_journals
from tests.cases import long_case
from tests.sharing import begin_together, lock, read, scan, stored_counts


@pytest.mark.parametrize(("scans", "exposures", "seconds"), [(1, 24, 0.1), long_case(5, 200, 0.3)])
def test_two_scan_in_a_new_folder_while_others_read_and_lock_it(tmp_path, start_child, scans, exposures, seconds):
    folder, stop = tmp_path / "data", tmp_path / "stop"
    scanners = [start_child(scan, folder, scans, exposures) for _ in range(2)]
    reader, locker = start_child(read, folder, stop), start_child(lock, folder, stop, seconds)
    begin_together([*scanners, reader, locker])
    told = {uid: count for scanner in scanners for uid, count in scanner.result().items()}
    stop.touch()
    seen = reader.result()
    assert seen["listed"] > 0, seen
    assert locker.result() > 0
    catalog = open_catalog(folder, to_write=True)
    recover_journals(catalog)
    assert len(told) == 2 * scans
    assert {uid: stored_counts(catalog, uid) for uid in told} == told
    numbers = [catalog[uid].metadata["start"]["scan_id"] for uid in told]
    assert sorted(numbers) == list(range(1, 2 * scans + 1))
