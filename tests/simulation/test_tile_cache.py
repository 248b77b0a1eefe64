from __future__ import annotations

import os
import subprocess
import sys
import threading
from dataclasses import replace

import numpy as np
import pytest

from cxgi_bluesky.simulation.board import cache as tile_cache
from cxgi_bluesky.simulation.board import tiles
from cxgi_bluesky.simulation.board.cache import TileFile, clear_tile_cache, from_levels, to_levels
from cxgi_bluesky.simulation.board.etching import Defects
from cxgi_bluesky.simulation.board.tiles import EtchedTiles, whole
from tests.conftest import small_board
from tests.patience import PATIENCE_S

DEFECTS = Defects(1.5, 1.5, 0.3, 0.4, 0.4, 0.02, seed=1)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("CXGI_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def drawings(monkeypatch):
    """Counts the tiles that are really drawn."""
    drawn = []
    draw = tiles.draw_tile
    monkeypatch.setattr(tiles, "draw_tile", lambda *a, **k: drawn.append(a[2]) or draw(*a, **k))
    return drawn


def etched(board=None, subpixels=4, defects=DEFECTS):
    return EtchedTiles(board or small_board(), subpixels, defects)


def test_a_drawn_tile_is_kept_and_read_back_the_same(folder, drawings):
    first = whole(etched(), 9).copy()
    np.testing.assert_array_equal(whole(etched(), 9), first)
    assert drawings == [9]
    assert [f.suffix for f in folder.iterdir()] == [".tiles"]


def test_stored_steps_are_far_below_the_noise(folder):
    transmission = np.linspace(0, 1, 10001, dtype=np.float32)
    assert np.abs(from_levels(to_levels(transmission)) - transmission).max() < 1e-5


def test_a_strip_is_the_same_from_the_pen_as_from_the_file(folder, drawings):
    rows, columns = slice(0, 2), slice(0, 32)
    drawn = etched().part(9, rows, columns)
    stored = whole(etched(), 9)[rows, columns]
    np.testing.assert_array_equal(drawn, stored)
    assert drawings == [9, 9]  # the strip was not kept


@pytest.mark.parametrize(
    "other",
    [
        {"subpixels": 2},
        {"defects": replace(DEFECTS, seed=2)},
        {"defects": replace(DEFECTS, offset_um=0.31)},
        {"board": small_board(d_r=0.8)},
        {"board": small_board(pixel_um=9.0)},
        {"board": small_board(pattern_index=tuple(range(64)))},
    ],
)
def test_whatever_changes_a_tile_has_a_file_of_its_own(folder, drawings, other):
    whole(etched(), 9)
    whole(etched(**other), 9)
    assert drawings == [9, 9]
    assert len(list(folder.iterdir())) == 2


def test_a_board_moved_on_the_stage_keeps_its_file(folder, drawings):
    board = small_board()
    whole(etched(board), 9)
    whole(etched(replace(board, alignment=replace(board.alignment, x0_mm=7.0, rotation_deg=1.0))), 9)
    assert drawings == [9]


def _flip_a_bit(path):
    data = bytearray(path.read_bytes())
    data[-100] ^= 4
    path.write_bytes(data)


@pytest.mark.parametrize(
    "damage",
    [
        _flip_a_bit,
        lambda path: path.write_bytes(path.read_bytes()[:-1]),
        lambda path: path.write_bytes(path.read_bytes()[:20]),
        lambda path: path.write_bytes(b""),
        lambda path: path.write_bytes(os.urandom(5000)),
        lambda path: path.unlink(),
    ],
    ids=["bit", "cut", "header cut", "empty", "noise", "gone"],
)
def test_a_damaged_file_is_drawn_again_and_mended(folder, drawings, damage):
    right = whole(etched(), 9).copy()
    (file,) = folder.iterdir()
    damage(file)
    np.testing.assert_array_equal(whole(etched(), 9), right)
    np.testing.assert_array_equal(whole(etched(), 9), right)
    assert drawings == [9, 9]


def test_a_folder_that_cannot_be_made_is_no_error(tmp_path, monkeypatch, drawings):
    (tmp_path / "file").write_text("not a folder")
    monkeypatch.setenv("CXGI_CACHE", str(tmp_path / "file" / "cache"))
    whole(etched(), 9)
    assert drawings == [9]


def test_the_folder_stays_below_its_limit(folder, monkeypatch):
    monkeypatch.setattr(tile_cache, "LIMIT_BYTES", 40_000)
    for seed in range(12):
        board = etched(defects=replace(DEFECTS, seed=seed))
        for tile in range(6):
            whole(board, tile)
        assert sum(f.stat().st_blocks * 512 for f in folder.iterdir()) <= 50_000
    assert (folder / f"{board._key()[:32]}.tiles").exists()  # the last one drawn is there


def test_clearing_frees_everything_and_nothing_else(folder):
    whole(etched(), 9)
    (folder / "other.txt").write_text("not ours")
    assert clear_tile_cache() > 0
    assert [f.name for f in folder.iterdir()] == ["other.txt"]
    assert clear_tile_cache() == 0


def test_two_processes_may_draw_at_the_same_time(folder):
    """Both write all slots; afterwards each slot is whole."""
    program = (
        "from tests.simulation.test_tile_cache import etched, whole\n"
        "tiles = etched()\n"
        "for tile in range(64): whole(tiles, tile)\n"
    )
    both = [subprocess.Popen([sys.executable, "-c", program]) for _ in range(2)]
    assert [p.wait(timeout=PATIENCE_S) for p in both] == [0, 0]
    file = TileFile(etched()._key(), 32)
    missing = [tile for tile in range(64) if file.read(tile) is None]
    assert len(missing) <= 2  # the one that begins the file may lose the other's first slots


LEVELS = np.full((32, 32), 7, np.uint16)


def test_the_file_that_was_used_longest_ago_is_dropped(folder, monkeypatch):
    old, used, new = (TileFile(letter * 40, 32) for letter in "abc")
    for age, file in ((300, used), (200, old)):
        file.write(0, LEVELS)
        os.utime(file.path, (file.path.stat().st_mtime - age,) * 2)
    assert TileFile(used.key, 32).read(0) is not None  # written first, but read last
    monkeypatch.setattr(tile_cache, "LIMIT_BYTES", sum(f.stat().st_blocks * 512 for f in folder.iterdir()))
    new.write(0, LEVELS)
    assert (old.path.exists(), used.path.exists(), new.path.exists()) == (False, True, True)


def test_reading_marks_a_file_as_used_once(folder):
    file = TileFile("a" * 40, 32)
    file.write(0, LEVELS)
    for expected in (True, False):
        os.utime(file.path, (1000, 1000))
        file.read(0)
        assert (file.path.stat().st_mtime > 1000) is expected


@pytest.mark.parametrize("evicted", [False, True])
def test_threads_that_begin_the_same_file_do_not_switch_each_other_off(folder, evicted):
    """All begin the file at the same time, and another may drop it under their hands."""
    for key in (f"{number:040d}" for number in range(10)):
        files = [TileFile(key, 32) for _ in range(6)]
        start = threading.Barrier(len(files) + 1)

        def write(file, tile, start=start):
            start.wait()
            for _ in range(5):
                file.write(tile, LEVELS)

        threads = [threading.Thread(target=write, args=(file, tile)) for tile, file in enumerate(files)]
        for thread in threads:
            thread.start()
        start.wait()
        while evicted and any(thread.is_alive() for thread in threads):
            files[0].path.unlink(missing_ok=True)
        for thread in threads:
            thread.join()
        for tile, file in enumerate(files):
            file.write(tile, LEVELS)
            np.testing.assert_array_equal(file.read(tile), LEVELS)
    assert {f.suffix for f in folder.iterdir()} == {".tiles"}


def test_a_file_dropped_while_it_is_written_is_begun_again(folder, monkeypatch):
    begin, dropped = TileFile._begin, []

    def dropped_once(self):
        begin(self)
        if not dropped:
            dropped.append(1)
            self.path.unlink()

    monkeypatch.setattr(TileFile, "_begin", dropped_once)
    file = TileFile("a" * 40, 32)
    file.write(3, LEVELS)
    np.testing.assert_array_equal(file.read(3), LEVELS)
