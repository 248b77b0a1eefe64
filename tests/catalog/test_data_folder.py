"""Data folders of any name, moved, copied and damaged."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import sqlite3
import subprocess
import sys
import textwrap
import warnings
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from importlib.metadata import version
from pathlib import Path
from threading import Barrier

import pytest
from platformdirs import user_data_path

from cxgi_bluesky._files.file_lock import take_shared
from cxgi_bluesky.catalog import data_folder, find_run, open_catalog, read_exposures, read_image, writer_of
from cxgi_bluesky.catalog.databases import (
    address_of,
    find_address,
    prepare_tables,
    read_addresses,
    rewrite_addresses,
)
from cxgi_bluesky.cli.program import main
from cxgi_bluesky.devices.simulated.beamline import simulated_beamline
from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.session.reconstruct_run import reconstruct_run
from cxgi_bluesky.session.run_engine import make_run_engine
from tests.cases import long_case
from tests.conftest import ALONE, QUIET, small_board, small_scan


def scan_into(folder):
    """A scan of 12 exposures and its image."""
    catalog = open_catalog(folder, to_write=True)
    engine = make_run_engine(writer_of(catalog))
    (uid,) = engine(small_scan(simulated_beamline(small_board(), "CAS", parameters=QUIET), 12, **ALONE))
    reconstruct_run(catalog, find_run(catalog, uid), method="inverse")
    return catalog


def read(folder):
    """Exposures of the scan in a folder, and pixels of its image."""
    runs = list(open_catalog(folder).values())
    raw, derived = sorted(runs, key=lambda run: "raw_uids" in run.metadata["start"]["cxgi"])
    return len(read_exposures(raw)), read_image(derived).shape[0]


@pytest.fixture(scope="module")
def scanned(tmp_path_factory):
    folder = tmp_path_factory.mktemp("scanned") / "data"
    scan_into(folder)
    return folder


@pytest.fixture
def copy(tmp_path, scanned):
    """A copy of a folder with a scan and its image, which nobody has open."""
    return Path(shutil.copytree(scanned, tmp_path / "copy"))


@pytest.mark.parametrize("name", ["run #1", long_case("what?x=1, 100%41; ü")])
def test_a_folder_of_any_name_holds_its_own_runs(tmp_path, name):
    folder = tmp_path / name
    scan_into(folder)
    assert read(folder) == (12, 8)
    assert list(tmp_path.iterdir()) == [folder]


@pytest.mark.skipif(version("databroker").startswith("1."), reason="the first generation knows no Tiled")
@pytest.mark.long
def test_plain_databroker_of_another_process_opens_a_folder_of_any_name_while_it_is_open_here(tmp_path):
    folder = tmp_path / "run #1"
    catalog = scan_into(folder)
    code = """
        import databroker, json
        runs = databroker.catalog["cxgi"].values()
        print(json.dumps([run.metadata["stop"]["exit_status"] for run in runs]))
    """
    environment = {**os.environ, "TILED_PROFILES": str(folder / "profiles")}
    words = [sys.executable, "-c", textwrap.dedent(code)]
    done = subprocess.run(words, capture_output=True, text=True, env=environment, check=True)
    assert json.loads(done.stdout) == ["success"] * 2
    assert len(catalog) == 2


def test_a_name_that_cannot_be_opened_is_refused_before_anything_is_written(tmp_path):
    folder = Path(os.fsdecode(os.fsencode(tmp_path) + b"/\xff"))
    with pytest.raises(CxgiError, match="no UTF-8"):
        open_catalog(folder, to_write=True)
    assert not list(tmp_path.iterdir())


def test_a_link_that_leads_elsewhere_is_made_anew(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    folder = tmp_path / "run #1"
    folder.mkdir()
    link = Path(address_of(folder))
    assert link.is_relative_to(user_data_path("cxgi_bluesky", appauthor=False))
    link.unlink()
    link.symlink_to(tmp_path)
    assert os.path.samefile(address_of(folder), folder)


def test_homes_and_addresses_of_files_are_folders(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    assert data_folder("~/data") == tmp_path / "data"
    assert data_folder(f"file://{tmp_path}/run%20%231") == tmp_path / "run #1"
    assert data_folder(f"file://localhost{tmp_path}") == tmp_path
    for address in ("sqlite:///x", "file://elsewhere/x", "s3://bucket"):
        with pytest.raises(CxgiError, match="is no folder"):
            data_folder(address)


def test_a_new_folder_can_be_made_where_an_event_loop_is_running(tmp_path):
    """As in a notebook."""

    async def begin():
        return len(open_catalog(tmp_path))

    assert asyncio.run(begin()) == 0


def test_a_database_of_an_earlier_tiled_is_upgraded_by_its_own_command(copy, scanned):
    from tiled.catalog.core import ALL_REVISIONS

    with closing(sqlite3.connect(copy / "catalog.db")) as database:
        database.execute("UPDATE alembic_version SET version_num = ?", (ALL_REVISIONS[1],))
        database.commit()
    (copy / "catalog.tiled-version").write_text("tiled 0.2.0\n")
    with pytest.raises(
        CxgiError, match=r"made by an earlier release of Tiled: .*upgrade-database sqlite.*catalog\.db'$"
    ):
        open_catalog(copy)


# ---------------------------------------------------------------- moved and copied


def test_a_folder_that_was_moved_or_copied_opens_with_its_runs_and_images(copy, scanned, caplog):
    moved = copy.rename(copy.with_name("moved to #2"))
    assert read(moved) == (12, 8)
    assert f"was {scanned} before" in caplog.text
    caplog.clear()
    assert read(moved) == read(scanned) == (12, 8)
    assert caplog.text == ""


def test_a_folder_that_was_moved_while_it_is_open_elsewhere_is_refused(copy):
    held = take_shared(copy, "in-use")
    with pytest.raises(CxgiError, match="is open in another process"):
        open_catalog(copy)
    os.close(held)


def assets(folder):
    with closing(sqlite3.connect(folder / "catalog.db")) as database:
        return sorted(uri for (uri,) in database.execute("SELECT data_uri FROM assets"))


def add_asset(folder, uri):
    with closing(sqlite3.connect(folder / "catalog.db")) as database:
        database.execute(
            "INSERT INTO assets (data_uri, is_directory, time_created, time_updated) VALUES (?, 0, 0, 0)", (uri,)
        )
        database.commit()


def test_addresses_below_the_old_folder_are_rewritten_and_no_others(copy, scanned):
    (old,) = read_addresses(copy)
    assert (old, find_address([old], copy)) == (str(scanned), None)
    others = [f"file://localhost{old}2/image.tif", "file://localhost/elsewhere/tables.db"]
    for uri in others:
        add_asset(copy, uri)
    before = assets(copy)
    rewrite_addresses(copy, [old], "/new")
    assert assets(copy) == sorted(uri if uri in others else uri.replace(old, "/new") for uri in before)


def test_a_folder_that_an_earlier_release_has_used_since_it_was_moved_has_one_address(copy):
    (old,) = read_addresses(copy)
    add_asset(copy, "sqlite://localhost//new/tables.db")
    rewrite_addresses(copy, [old], "/new")
    assert read_addresses(copy) == ["/new"]
    with closing(sqlite3.connect(copy / "catalog.db")) as database:
        wrong = "SELECT count(*) FROM data_source_asset_association WHERE asset_id NOT IN (SELECT id FROM assets)"
        assert database.execute(wrong).fetchone() == (0,)


# ---------------------------------------------------------------- damaged and missing


def test_a_catalog_that_is_missing_beside_full_tables_is_said_and_not_replaced(copy):
    (copy / "catalog.db").unlink()
    with pytest.raises(CxgiError, match=r"catalog.db is missing beside .*tables.db"):
        open_catalog(copy)
    assert not (copy / "catalog.db").exists()


def damage(path):
    path.write_bytes(b"no database " * 1000)
    for side in ("-wal", "-shm"):
        path.with_name(path.name + side).unlink(missing_ok=True)


@pytest.mark.parametrize("file", ["catalog.db", "tables.db"])
def test_a_damaged_database_is_one_line(copy, file):
    damage(copy / file)
    with pytest.raises(CxgiError, match=rf"{file} cannot be read .*bring it back"):
        open_catalog(copy, to_write=True)


@pytest.mark.parametrize("wrong", [Path.unlink, damage])
def test_without_its_tables_a_catalog_lists_its_runs_and_says_what_is_wrong(copy, caplog, capsys, wrong):
    wrong(copy / "tables.db")
    assert main(["runs", "--data", str(copy)]) == 0
    listed = capsys.readouterr().out
    assert "2 of 2 runs" in listed
    assert "tables.db" in caplog.text
    uid = listed.splitlines()[2].split()[0]
    assert main(["show", uid, "--data", str(copy)]) == 2
    assert "bring" in capsys.readouterr().err.splitlines()[-1]
    with pytest.raises(CxgiError, match=r"tables\.db"):
        open_catalog(copy, to_write=True)


# ---------------------------------------------------------------- write-ahead logs


def test_both_databases_have_write_ahead_logs(scanned):
    for file in ("catalog.db", "tables.db"):
        assert (scanned / file).read_bytes()[18:20] == b"\2\2"  # of the file format: write-ahead log


def test_where_there_can_be_no_write_ahead_log_it_is_said_once(tmp_path, caplog):
    prepare_tables(Path(f"file:{tmp_path}/tables.db?vfs=unix-dotfile"))
    assert caplog.text.count("no write-ahead log") == 1


# ---------------------------------------------------------------- several threads


def test_two_new_folders_can_be_opened_at_once_in_one_process(tmp_path):
    filters, together = list(warnings.filters), Barrier(2)

    def begin(name):
        together.wait()
        return len(open_catalog(tmp_path / name, to_write=True))

    with ThreadPoolExecutor(2) as threads:
        assert list(threads.map(begin, ["one", "other"])) == [0, 0]
    assert warnings.filters == filters
