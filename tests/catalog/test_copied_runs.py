"""Benchmarks of thousands of runs copy the rows of one: they are what storing gives."""

from __future__ import annotations

import json

from benchmarks._copies import copy_run, new_uid
from benchmarks.start_up import in_process
from cxgi_bluesky.catalog import find_run, list_runs, open_catalog, writer_of
from cxgi_bluesky.cli.program import main
from tests.catalog.test_whole_runs import nodes_of, record_scan


def store(folder, numbers):
    """Store a scan, and the same with the uids of its copies."""
    documents = json.loads((folder.parent / "documents.json").read_text())
    uids = {document["uid"] for name, document in documents if name in ("start", "descriptor", "stop")}
    for number in numbers:
        text = json.dumps(documents)
        for uid in uids if number else ():
            text = text.replace(uid, new_uid(uid, number))
        writer_of(open_catalog(folder, to_write=True)).write_runs([json.loads(text)])


def test_copied_runs_have_the_tables_of_stored_ones(tmp_path, beamline):
    documents = record_scan(beamline)
    (tmp_path / "documents.json").write_text(json.dumps(documents))
    copied, stored = tmp_path / "copied", tmp_path / "stored"
    in_process(store, copied, [0])
    in_process(copy_run, copied, documents[0][1]["uid"], 2)
    store(stored, [0, 1, 2])
    assert nodes_of(copied) == nodes_of(stored)
    assert main(["runs", "--rebuild", "--data", str(copied)]) == 0
    assert list_runs(copied) == list_runs(stored)
    catalogs = [open_catalog(folder) for folder in (copied, stored)]
    for uid in catalogs[0]:
        given = [list(find_run(catalog, uid).documents()) for catalog in catalogs]
        assert given[0] == given[1]
