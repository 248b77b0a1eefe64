"""The index of runs: what it lists is what the catalog lists, or it is known to be behind."""

from __future__ import annotations

import json
import os
import random
import shutil
import signal
import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from bluesky import RunEngine
from bluesky import plan_stubs as bps
from event_model import compose_run
from numpy.testing import assert_equal

from cxgi_bluesky.catalog import (
    RunStore,
    catalog_errors,
    describe,
    describe_run,
    find_named_run,
    list_runs,
    open_catalog,
    read,
    recover_journals,
    run_writer,
    summarise,
    writer_of,
)
from cxgi_bluesky.catalog.run_index import FILE, RunIndex
from cxgi_bluesky.cli.program import main
from cxgi_bluesky.devices.simulated.beamline import simulated_beamline
from cxgi_bluesky.devices.simulated.sandpaper import simulated_speckle_beamline, speckle_board
from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.masks.pattern_set import PatternSet
from cxgi_bluesky.masks.speckle_files import register_speckles
from cxgi_bluesky.plans import adaptive_scan, dark_scan, mask_scan, metal_scan, record_speckles, reference_scan
from cxgi_bluesky.session.reconstruct_run import reconstruct_run
from tests.conftest import QUIET, small_board, small_scan
from tests.sharing import begin_together, begun, scan


def runs_of(catalog):
    with catalog_errors():
        return [summarise(run) for run in catalog.values()]


@pytest.fixture
def unopened(monkeypatch):
    """The catalog must not be opened."""

    def refuse(*_, **__):
        raise AssertionError("the index is not used")

    monkeypatch.setattr(read, "open_catalog", refuse)


@pytest.fixture(scope="module")
def mixed(tmp_path_factory):
    """A catalog with runs of every kind, stored as a session stores them."""
    folder = tmp_path_factory.mktemp("mixed")
    catalog = open_catalog(folder, to_write=True)
    engine = RunEngine({})
    engine.subscribe(RunStore(writer_of(catalog)))
    line = simulated_beamline(small_board(), "CAS", parameters=QUIET)
    devices = line.stage, line.shutter, line.diode
    words = {"board": line.board, "exposure_s": 1.0, "object_stage": line.object_stage}
    (uid,) = engine(small_scan(line, md={"sample": "leaf"}))
    reconstruct_run(catalog, catalog[uid], method="tv")
    reconstruct_run(catalog, catalog[uid], method="correlation", pattern_set=None)
    engine(adaptive_scan(*devices, count=40, validation=8, **words))
    engine(reference_scan(*devices, pattern_set=PatternSet(8, 16), **words))
    (dark,) = engine(dark_scan(line.shutter, line.diode, exposure_s=1.0))
    engine(small_scan(line, 4, dark_exposures=0, dark_uid=dark, metal_exposures=2))
    engine(small_scan(line, 4, metal_exposures=2))
    engine(small_scan(line, 4, dark_exposures=0, dark_uid="feedbeef", metal_exposures=2))
    engine(metal_scan(*devices, **words))
    store_those_that_go_wrong(engine, line)
    store_speckles(engine, folder)
    store_odd_documents(catalog)
    return folder, catalog


def store_those_that_go_wrong(engine, line):
    """A scan that fails, and one that is aborted."""

    def failing():
        for number, message in enumerate(small_scan(line, 8)):
            if number == 150:
                raise RuntimeError("the hutch is on fire")
            yield message

    with pytest.raises(RuntimeError):
        engine(failing())

    def pausing():
        yield from bps.open_run(md={"plan_name": "mine"})
        yield from bps.pause()
        yield from bps.close_run()

    with pytest.raises(Exception, match=r"paus|interrupt"):
        engine(pausing())
    engine.abort("enough")


def store_speckles(engine, folder):
    line = simulated_speckle_beamline(board=speckle_board(40, size=8), seed=2)
    path = folder / "s.h5"
    words = {"exposure_s": 1.0, "object_stage": line.object_stage}
    engine(record_speckles(line.stage, line.shutter, line.camera, path=path, **words))
    speckles = register_speckles(path, folder)
    engine(mask_scan(line.stage, line.shutter, line.diode, board=line.board, pattern_set=speckles, **words))


def store_odd_documents(catalog):
    """Runs of other programs: numbers that JSON has not, deep and strange values, the same scan number twice."""
    chance = random.Random(3)
    odd = [float("nan"), float("inf"), 2**70, -(2**60), "ä\u2028\x00", [], {}, {"a": {"b": [1, [2.5]]}}, None, True]
    for number in range(12):
        metadata = {f"key {i}": value for i, value in enumerate(chance.sample(odd, 4))}
        metadata |= {"scan_id": chance.choice([7001, 7002, number + 7003]), "cxgi": chance.choice(odd)}
        run = compose_run(metadata=metadata, validate=False)
        writer_of(catalog).write_runs([[("start", run.start_doc), ("stop", run.compose_stop())]])


@pytest.mark.usefixtures("unopened")
def test_the_list_is_that_of_the_catalog(mixed):
    folder, catalog = mixed
    expected = runs_of(catalog)
    assert {run["exit_status"] for run in expected} == {"success", "fail", "abort"}
    assert_equal(list_runs(folder, last=1000), (expected, len(expected)))
    assert_equal(list_runs(folder, last=3), (expected[-3:], len(expected)))


def shown(function, *arguments):
    """What is shown of a run, as JSON has it, or the error."""
    try:
        return json.loads(json.dumps(function(*arguments)))
    except CxgiError as error:
        return str(error)


def test_what_is_shown_of_each_run_is_what_the_catalog_holds(mixed, monkeypatch):
    folder, catalog = mixed
    opened, read_from_the_catalog = [], []
    monkeypatch.setattr(read, "open_catalog", lambda _: opened.append(1) or catalog)
    names = ["last", "-1", "-2", "7001", "7002", "abcdef", "99999", *(run["uid"][:8] for run in runs_of(catalog))]
    for _ in range(2):  # the second time, runs whose dark is another run's are in the index, too
        for name in names:
            expected = shown(lambda name=name: describe(catalog, find_named_run(catalog, name)))
            assert_equal(shown(describe_run, folder, name), expected, name)
        read_from_the_catalog.append(len(opened))
        opened.clear()
    first, second = read_from_the_catalog
    assert second < first < len(names) / 2


# ---------------------------------------------------------------- an index that cannot be used


@pytest.fixture(scope="module")
def scanned(tmp_path_factory):
    """A folder with three runs and their index."""
    folder = tmp_path_factory.mktemp("scanned") / "data"
    folder.mkdir()
    engine, plan = begun(folder, 12)
    for _ in range(3):
        engine(plan())
    return folder


@pytest.fixture
def copy(scanned, tmp_path):
    """A copy of it that no process has open, and whose index belongs to its catalog."""
    shutil.copytree(scanned, tmp_path / "data")
    assert list_runs(tmp_path / "data")[1] == 3
    return tmp_path / "data"


def told_of_the_index(caplog):
    return [record.message for record in caplog.records if FILE in record.message]


def write(path, content):
    path.write_bytes(content)


def change(path, statement):
    with closing(sqlite3.connect(path, isolation_level=None)) as database:
        database.execute(statement)


@pytest.mark.parametrize(
    ("harm", "told"),
    [
        (Path.unlink, "is missing"),
        (lambda path: write(path, b"no database " * 1000), "cannot be read"),
        (lambda path: write(path, path.read_bytes()[:5000]), "cannot be read"),
        (lambda path: write(path, b""), "is of another release"),
        (lambda path: change(path, "PRAGMA user_version = 99"), "is of another release"),
        (lambda path: change(path, "UPDATE state SET catalog = 'other'"), "is behind the catalog"),
    ],
)
def test_an_index_that_cannot_be_used_is_made_anew(copy, caplog, monkeypatch, harm, told):
    listed = list_runs(copy)
    harm(copy / FILE)
    caplog.clear()
    assert list_runs(copy) == listed
    (line,) = told_of_the_index(caplog)
    assert told in line
    assert "made anew from the catalog" in line
    monkeypatch.setattr(read, "open_catalog", None)
    assert list_runs(copy) == listed


@pytest.mark.parametrize("write_run", [run_writer, lambda catalog: RunStore(writer_of(catalog))])
def test_runs_that_others_write_are_not_left_out(copy, caplog, write_run):
    """Of databroker, of an earlier release of this package: they keep no index."""
    catalog = open_catalog(copy, to_write=True)
    run = compose_run(metadata={"plan_name": "count"})
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(RunIndex, "_follow", lambda *_: None)
        store = write_run(catalog)
        store("start", run.start_doc)
        store("stop", run.compose_stop())
    writer_of(catalog).write_runs([[("start", (ours := compose_run()).start_doc), ("stop", ours.compose_stop())]])
    listed, total = list_runs(copy)
    assert (listed, total) == (runs_of(catalog), 5)
    assert "is behind the catalog" in caplog.text


def test_an_index_that_cannot_be_written_is_told_once_and_runs_are_listed(copy, caplog):
    (copy / FILE).unlink()
    (copy / FILE).mkdir()
    caplog.clear()
    assert list_runs(copy)[1] == 3
    (line,) = told_of_the_index(caplog)
    assert "listing runs takes seconds" in line
    catalog = open_catalog(copy, to_write=True)
    writer_of(catalog).write_runs([[("start", (run := compose_run()).start_doc), ("stop", run.compose_stop())]])
    assert list_runs(copy)[1] == 4


@pytest.mark.usefixtures("unopened")
def test_a_run_under_way_is_listed_as_unfinished(tmp_path):
    catalog = open_catalog(tmp_path, to_write=True)
    store, run = RunStore(writer_of(catalog)), compose_run()
    store("start", run.start_doc)
    writer_of(catalog)._ask(lambda: None)  # the writer's thread has taken it
    assert list_runs(tmp_path)[0][-1]["exit_status"] == "unfinished"
    store("stop", run.compose_stop())
    assert list_runs(tmp_path)[0][-1]["exit_status"] == "success"


def test_an_index_that_cannot_be_begun_ends_no_scan(tmp_path, monkeypatch, caplog):
    def full(*_):
        raise OSError("disk full")

    monkeypatch.setattr(RunIndex, "_write", full)
    catalog = open_catalog(tmp_path, to_write=True)
    writer_of(catalog).write_runs([[("start", (run := compose_run()).start_doc), ("stop", run.compose_stop())]])
    assert list_runs(tmp_path)[0] == runs_of(catalog) != []
    assert caplog.text.count("disk full") == 2  # who writes, and who lists


def test_rebuild_is_an_option(copy, capsys, caplog):
    assert main(["runs", "--rebuild", "--data", str(copy)]) == 0
    assert "3 of 3 runs" in capsys.readouterr().out
    assert "was asked for: it is made anew" in caplog.text


# ---------------------------------------------------------------- several processes


def test_two_that_scan_in_one_folder_keep_one_index(tmp_path, start_child, monkeypatch):
    folder = tmp_path / "data"
    children = [start_child(scan, folder, 3, 5) for _ in range(2)]
    begin_together(children)
    told = {uid for child in children for uid in child.result()}
    expected = runs_of(open_catalog(folder))
    monkeypatch.setattr(read, "open_catalog", None)  # the index belongs to the catalog when both have ended
    listed, total = list_runs(folder)
    assert ({run["uid"] for run in listed}, total) == (told, 6)
    assert listed == expected


def scan_and_die(wait_for_the_others, folder, moment, times):
    """Scan until a moment of the index has come so often, then end by SIGKILL."""
    engine, plan = begun(folder, 5)
    left, method = [times], getattr(RunIndex, moment)

    def die(*arguments):
        left[0] -= 1
        if left[0] == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        return method(*arguments)

    setattr(RunIndex, moment, die)
    wait_for_the_others()
    while True:
        engine(plan())


@pytest.mark.parametrize("times", [2, *(pytest.param(times, marks=pytest.mark.long) for times in range(3, 16, 2))])
def test_a_process_killed_between_catalog_and_index_leaves_no_run_out(tmp_path, start_child, times):
    folder = tmp_path / "data"
    child = start_child(scan_and_die, folder, "_follow", 8 * times)
    begin_together([child])
    assert child.wait() == -signal.SIGKILL
    listed, total = list_runs(folder)
    catalog = open_catalog(folder, to_write=True)
    assert (listed, total) == (runs_of(catalog), len(catalog))
    recover_journals(catalog)
    assert list_runs(folder)[0] == runs_of(catalog)


def test_a_part_of_a_run_that_chose_its_patterns_needs_an_order(mixed, capsys):
    folder, catalog = mixed
    (uid,) = (uid for uid, one in catalog.items() if one.metadata["start"].get("plan_name") == "adaptive_scan")
    words = ["reconstruct", uid[:8], "--data", str(folder), "--fraction", "0.3", "--out", str(folder / "a.npy")]
    assert main(words) == 2
    assert "--fraction needs an --order" in capsys.readouterr().err
