"""Runs of other programs whose start documents look like ours and are not."""

from __future__ import annotations

import pytest
from event_model import compose_run

from cxgi_bluesky.callbacks import LiveCorrelation, ReferenceRuns, ScanProgress
from cxgi_bluesky.catalog import find_run, read_whole_scan, run_writer
from cxgi_bluesky.cli.program import main
from cxgi_bluesky.errors import CxgiError

FIELDS = {"bucket": "a", "pattern_index": "b"}
SET = {"basis": "hadamard", "size": 8, "order": "zig-zag", "count": 4}
OURS = {
    "schema": 1,
    "purpose": "image",
    "fields": FIELDS,
    "pattern_set": SET,
    "board": {"id": "b", "sha256": "0" * 64, "d_r": 1.0},
}
BLOCKS = {
    "text": "a text",
    "number": 3,
    "list": [1],
    "sets are text": {**OURS, "pattern_set": "all"},
    "no fields": {name: value for name, value in OURS.items() if name != "fields"},
    "board is text": {**OURS, "board": "\x1b[31mred\x1b[0m"},
    "escape": {**OURS, "board": {"id": "\x1b[31mred\x1b[0m\x07", "d_r": 1.0}},
    "raw uids are text": {"purpose": "reconstruction", "raw_uids": "all", "method": "\x1b]0;title\x07"},
    "empty": {},
}


def documents(block, **more):
    run = compose_run(metadata={"cxgi": block, **more})
    return [("start", run.start_doc), ("stop", run.compose_stop())]


pytestmark = pytest.mark.usefixtures("opened_once")


@pytest.fixture(scope="module")
def uids(catalog):
    """A run of each kind."""
    uids = {}
    for name, block in BLOCKS.items():
        write = run_writer(catalog)
        for kind, document in documents(block, sample="leaf"):
            write(kind, document)
            uids[name] = document.get("run_start")
    return uids


def test_all_are_listed_and_nothing_that_a_terminal_would_obey_is_printed(folder, uids, capsys):
    assert main(["runs", "--data", str(folder)]) == 0
    out = capsys.readouterr().out
    assert f"{len(uids)} of {len(uids)} runs" in out
    assert all(uid[:8] in out for uid in uids.values())
    assert "\x1b" not in out
    assert "\x07" not in out


@pytest.mark.parametrize("name", BLOCKS)
@pytest.mark.parametrize("command", [["show"], ["reconstruct", "--method", "inverse"], ["quality"]])
def test_each_is_one_clear_line(folder, uids, capsys, monkeypatch, tmp_path, name, command):
    monkeypatch.chdir(tmp_path)
    status = main([command[0], uids[name], *command[1:], "--data", str(folder)])
    said = capsys.readouterr()
    assert "\x1b" not in said.out + said.err
    assert status in ((0, 2) if command == ["show"] else (2,))
    assert status == 0 or len(said.err.splitlines()) == 1


@pytest.mark.parametrize("name", BLOCKS)
@pytest.mark.parametrize("callback", [LiveCorrelation, ReferenceRuns, ScanProgress])
def test_callbacks_leave_them_alone(name, callback, caplog):
    taking = callback()
    for kind, document in documents(BLOCKS[name]):
        taking(kind, document)
    assert not getattr(taking, "images", 0)


def test_a_run_that_resumes_itself_is_one_error(catalog, uids):
    run = compose_run(metadata={"cxgi": OURS})
    start = {**run.start_doc, "cxgi": {**OURS, "resumes": run.start_doc["uid"]}}
    write = run_writer(catalog)
    for kind, document in [("start", start), ("stop", run.compose_stop())]:
        write(kind, document)
    with pytest.raises(CxgiError, match="resumes itself"):
        read_whole_scan(catalog, find_run(catalog, start["uid"]))
