from __future__ import annotations

import numpy as np
import pytest
import yaml

from cxgi_bluesky.analysis.board_alignment.search import landmarks_of
from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.masks.board import Alignment, MaskBoard, load_board
from cxgi_bluesky.masks.board_files import list_shipped_boards
from cxgi_bluesky.masks.pattern_set import PatternSet
from cxgi_bluesky.masks.speckle_board import SpeckleBoard
from tests.conftest import small_board


def test_the_papers_boards_ship():
    assert list_shipped_boards() == ["au64", "cu32"]
    gold, copper = load_board("au64"), load_board("cu32")
    assert (gold.size, gold.pixel_um, gold.d_r) == (64, 10.0, 0.83)
    assert (copper.size, copper.pixel_um, copper.d_r) == (32, 150.0, 0.75)
    assert gold.pattern_count == 4096
    assert gold.t0 == pytest.approx(0.17)


@pytest.mark.parametrize("name", ["au64", "cu32"])
def test_shipped_boards_round_trip_through_yaml(name, tmp_path):
    board = load_board(name)
    board.to_yaml(tmp_path / "b.yaml")
    again = MaskBoard.from_yaml(tmp_path / "b.yaml")
    assert again == board
    assert again.sha256 == board.sha256


IDENTITIES = {
    "25f18274a851fad2bf07380cb8ad28b79192aaa6f44e924eb1d0c5431b62c856": load_board("au64"),
    "914c0b18f4ad3fe3a79df1be844b387fd8b474054388bce733f7acda39dd32a7": load_board("cu32"),
    "dd341cd63722efd563ddec364b49ebcd91c67dd28b59c156702d688956f42e7f": SpeckleBoard(
        "sheet", (59, 59), 37.5, 1350.0, 10000, 100
    ),
    "e78a248cc12f5a7ca9161a48c9b6d93122e319e7cd530ece668775bca694ac02": PatternSet(64, 768),
}


@pytest.mark.parametrize("digest", IDENTITIES)
def test_identities_that_runs_have_stored_stay_the_same(digest):
    assert IDENTITIES[digest].sha256 == digest


def test_a_board_with_any_tiles_round_trips(tmp_path):
    board = small_board(4, pattern_index=(0, 7, 3), columns=2)
    board.to_yaml(tmp_path / "b.yaml")
    assert MaskBoard.from_yaml(tmp_path / "b.yaml") == board


def test_tiles_and_patterns_are_each_others_inverse(board):
    for tile in range(board.pattern_count):
        assert board.tile_of(board.pattern_index_of(tile)) == tile
    assert board.pattern_index_of(board.open_tile_number) == -1


@pytest.mark.parametrize("mirrored", [False, True])
def test_positions_find_their_tile(mirrored):
    board = small_board(alignment=Alignment(3.0, -2.0, rotation_deg=20, scale=0.99, mirrored=mirrored))
    for tile in range(board.tile_count):
        x, y = board.position_mm(tile)
        nearest, distance = board.nearest_tile(x + 0.01, y - 0.01)
        assert nearest == tile
        assert distance == pytest.approx(np.hypot(10, 10))


def test_alignment_moves_tiles_as_it_says():
    plain = small_board(alignment=Alignment())
    pitch = plain.tile_pitch_um / 1000
    assert plain.position_mm(0) == (0.0, 0.0)
    assert plain.position_mm(1) == pytest.approx((pitch, 0))
    assert plain.position_mm(plain.columns) == pytest.approx((0, pitch))
    turned = small_board(alignment=Alignment(rotation_deg=90))
    assert turned.position_mm(1) == pytest.approx((0, pitch))
    mirrored = small_board(alignment=Alignment(mirrored=True))
    assert mirrored.position_mm(1) == pytest.approx((-pitch, 0))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"d_r": 1.2}, "d_r 1.2"),
        ({"pixel_um": 0.0}, "pixel_um 0.0"),
        ({"aperture_um": float("nan")}, "aperture_um nan"),
        ({"tile_pitch_um": 10.0}, "tile_pitch_um 10.0"),
        ({"open_tile": (0, 0)}, "open_tile"),
        ({"metal_tile": (-2, 0)}, "share the place"),
        ({"pattern_index": (0, 64)}, "pattern_index 64"),
        ({"pattern_index": (0, 0)}, "pattern_index 0 is given 2 times"),
        ({"columns": 0}, "columns 0"),
    ],
)
def test_impossible_boards_are_refused(changes, message):
    with pytest.raises(CxgiError, match=message):
        small_board(**changes)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[1, 2]", "mapping"),
        ("name: x", "missing"),
        ("a: [", "cannot be read"),
        ("!!python/object/apply:os.getcwd []", "cannot be read"),
    ],
)
def test_bad_board_files_are_refused(tmp_path, text, message):
    (tmp_path / "b.yaml").write_text(text)
    with pytest.raises(CxgiError, match=message) as caught:
        load_board(tmp_path / "b.yaml")
    assert "b.yaml" in str(caught.value)


def test_wrong_values_in_a_file_are_named(tmp_path, board):
    words = board.to_dict() | {"pixel_um": "wide"}
    (tmp_path / "b.yaml").write_text(yaml.safe_dump(words))
    with pytest.raises(CxgiError, match="wide"):
        load_board(tmp_path / "b.yaml")


def test_unknown_names_tiles_and_patterns(board):
    with pytest.raises(CxgiError, match=r"'pb128' is unknown: choose au64, cu32"):
        load_board("pb128")
    with pytest.raises(CxgiError, match="tile 66 is outside"):
        board.position_mm(66)
    with pytest.raises(CxgiError, match="no tile with pattern_index 3"):
        small_board(pattern_index=(0, 1)).tile_of(3)


def test_a_large_plate_of_few_tiles_is_written_and_read(tmp_path):
    board = small_board(256, pattern_index=tuple(range(100)), columns=10)
    board.to_yaml(tmp_path / "large.yaml")
    assert MaskBoard.from_yaml(tmp_path / "large.yaml") == board


# ---------------------------------------------------------------- fiducials


def test_a_board_without_fiducials_is_the_board_it_was(board):
    assert "fiducials" not in board.to_dict()
    assert small_board(fiducials=()).sha256 == board.sha256
    assert small_board(fiducials=((-5, 0),)).sha256 != board.sha256


def test_fiducials_round_trip_and_have_no_tile_numbers(tmp_path, board):
    marked = small_board(fiducials=((-5, 0), (10, 3)))
    marked.to_yaml(tmp_path / "b.yaml")
    assert load_board(tmp_path / "b.yaml") == marked
    assert marked.tile_count == board.tile_count
    assert marked.place_mm((0, 3)) == pytest.approx(marked.position_mm(3))
    assert marked.place_mm(marked.open_tile) == pytest.approx(marked.position_mm(marked.open_tile_number))


@pytest.mark.parametrize(
    ("fiducials", "message"),
    [
        (((7, 7),), r"fiducial 0 \(7, 7\) lies on the tile of a pattern"),
        (((-2, 0),), "open_tile and fiducial 0 share the place"),
        (((-5, 0), (-5, 0)), "fiducial 0 and fiducial 1 share the place"),
    ],
)
def test_impossible_fiducials_are_refused(fiducials, message):
    with pytest.raises(CxgiError, match=message):
        small_board(fiducials=fiducials)


@pytest.mark.parametrize("name", ["au64", "cu32"])
def test_the_shipped_boards_can_be_aligned_and_no_fiducial_is_anothers_mirror_image(name):
    board = load_board(name)
    assert landmarks_of(board) == board.fiducials
    images = {(row, board.columns - 1 - column) for row, column in board.fiducials}
    for row, column in images:
        assert min(max(abs(row - r), abs(column - c)) for r, c in board.fiducials) >= 3
