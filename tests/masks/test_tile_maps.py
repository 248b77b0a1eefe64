from __future__ import annotations

from dataclasses import replace

import h5py
import numpy as np
import pytest
from PIL import Image

from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.masks.board import Alignment
from cxgi_bluesky.masks.pattern_set import pattern
from cxgi_bluesky.masks.tile_maps import FineTileMaps, TileMaps
from tests.conftest import small_board

BOARD = small_board()


def fine_maps(subpixels=2, index=(5, 0, 9, 63), **changes):
    rng = np.random.default_rng(0)
    maps = rng.random((len(index), 8 * subpixels, 8 * subpixels)).astype(np.float32)
    words = {
        "size": 8,
        "subpixels": subpixels,
        "pattern_index": np.array(index),
        "maps": maps,
        "open_map": np.ones(maps.shape[1:], np.float32),
        "board_sha256": BOARD.sha256,
        "source": "camera, µm",
    }
    return FineTileMaps(**{**words, **changes})


def coarse_maps(**changes):
    return replace(fine_maps().average(), **changes)


@pytest.mark.parametrize("make", [fine_maps, coarse_maps])
def test_written_and_read_back(tmp_path, make):
    maps = make()
    maps.to_file(tmp_path / "maps.h5")
    again = type(maps).from_file(tmp_path / "maps.h5", BOARD)
    np.testing.assert_array_equal(again.maps, maps.maps)
    np.testing.assert_array_equal(again.open_map, maps.open_map)
    np.testing.assert_array_equal(again.pattern_index, maps.pattern_index)
    assert (again.size, again.board_sha256, again.source) == (8, BOARD.sha256, "camera, µm")
    assert again.sha256 == maps.sha256


def test_without_open_map_or_board(tmp_path):
    maps = fine_maps(open_map=None, board_sha256=None)
    maps.to_file(tmp_path / "maps.h5")
    again = FineTileMaps.from_file(tmp_path / "maps.h5", BOARD)
    assert again.open_map is None
    assert again.board_sha256 is None
    np.testing.assert_array_equal(again.open_tile(), maps.select([0])[0])  # pattern 0 is all open


def test_signed_masks_take_the_open_tile_from_pattern_0():
    """Uneven light is in every map: a perfect mask is the pattern times the light, whichever map shows it."""
    light = np.linspace(0.8, 1.1, 64).reshape(8, 8)
    index = np.array([0, 5, 9])
    tiles = np.where(np.array([pattern(8, k) for k in index]) > 0, 1.0, BOARD.t0) * light
    expected = np.array([pattern(8, k) for k in index]) * light / light.mean()
    for opened in (light, None):
        maps = TileMaps(8, index, tiles, opened, None, "")
        np.testing.assert_allclose(maps.open_tile(), light, rtol=1e-6)
        np.testing.assert_allclose(maps.to_signed_masks(index, BOARD.d_r), expected, atol=1e-5)
    nothing_known = TileMaps(8, index[1:], tiles[1:], None, None, "")
    np.testing.assert_array_equal(nothing_known.open_tile(), np.ones((8, 8)))


def test_finer_maps_are_read_averaged(tmp_path):
    fine_maps().to_file(tmp_path / "maps.h5")
    read = TileMaps.from_file(tmp_path / "maps.h5")
    expected = fine_maps().maps.reshape(4, 8, 2, 8, 2).mean(axis=(2, 4))
    np.testing.assert_allclose(read.maps, expected, atol=1e-6)
    assert read.maps.dtype == np.float32
    assert read.pattern_index.dtype == np.int64


def test_maps_are_found_by_their_pattern():
    maps = coarse_maps()
    np.testing.assert_array_equal(maps.select([63, 5, 63]), maps.maps[[3, 0, 3]])
    assert maps.select(9).shape == (1, 8, 8)
    with pytest.raises(CxgiError, match=r"pattern_index 7 \(2 of 3 are missing\)"):
        maps.select([5, 7, 64])


def test_the_digest_tells_maps_apart():
    maps = coarse_maps()
    changed = maps.maps.copy()
    changed[2, 3, 4] += 1e-4
    others = [
        replace(maps, maps=changed),
        replace(maps, open_map=None),
        replace(maps, board_sha256=None),
        replace(maps, pattern_index=np.array([6, 0, 9, 63])),
    ]
    assert len({m.sha256 for m in [maps, *others]}) == 5
    assert replace(maps, source="elsewhere").sha256 == maps.sha256


def test_values_cannot_be_changed_and_the_callers_own_can():
    own = np.full((1, 8, 8), 0.5, np.float32)
    maps = TileMaps(8, np.array([3]), own, None, None, "")
    own[0, 0, 0] = 0.6
    with pytest.raises(ValueError, match="read-only"):
        maps.maps[0, 0, 0] = 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"maps": np.full((4, 16, 16), np.nan)}, "NaN"),
        ({"maps": np.full((4, 16, 16), 1.3)}, "a transmission lies within 0..1"),
        ({"maps": np.full((4, 16, 16), -0.2)}, "subtract the dark image"),
        ({"maps": np.ones((3, 16, 16))}, "for 4 patterns"),
        ({"maps": np.ones((4, 15, 15))}, "16 x 16"),
        ({"open_map": np.ones((8, 8))}, "map of the open tile has shape"),
        ({"open_map": np.full((16, 16), np.inf)}, "NaN or infinite"),
        ({"pattern_index": np.array([5, 5, 9, 63])}, "2 times"),
        ({"pattern_index": np.array([5, 0, 9, 64])}, "outside 0..63"),
        ({"size": 12}, "power of two"),
        ({"subpixels": 0}, "at least 1"),
    ],
)
def test_impossible_maps(changes, message):
    with pytest.raises(CxgiError, match=message):
        fine_maps(**changes)


@pytest.mark.parametrize(
    ("board", "message"),
    [
        (small_board(16), "board 'test16' has 16"),
        (small_board(d_r=0.8), "of another board"),
    ],
)
def test_maps_of_another_board(tmp_path, board, message):
    fine_maps().to_file(tmp_path / "maps.h5")
    with pytest.raises(CxgiError, match=message):
        TileMaps.from_file(tmp_path / "maps.h5", board)


def test_patterns_that_the_board_does_not_carry():
    with pytest.raises(CxgiError, match="pattern_index 63, which board"):
        fine_maps(board_sha256=None).check_board(small_board(pattern_index=tuple(range(63))))


def _cut(path):
    path.write_bytes(path.read_bytes()[:-300])


def _no_group(path):
    with h5py.File(path, "w") as file:
        file["x"] = 1


def _other_version(path):
    with h5py.File(path, "r+") as file:
        file["tile_maps"].attrs["cxgi_tile_maps"] = 2


def _no_maps(path):
    with h5py.File(path, "r+") as file:
        del file["tile_maps/maps"]


def _text(path):
    with h5py.File(path, "r+") as file:
        del file["tile_maps/maps"]
        file["tile_maps/maps"] = "text"


@pytest.mark.parametrize("damage", [_cut, _no_group, _other_version, _no_maps, _text, lambda p: p.unlink()])
def test_damaged_files_get_one_line(tmp_path, damage):
    path = tmp_path / "maps.h5"
    fine_maps().to_file(path)
    damage(path)
    with pytest.raises(CxgiError, match=r"maps\.h5"):
        FineTileMaps.from_file(path)


def folder_of_images(path, names, suffix=".npy", shape=(32, 32)):
    path.mkdir()
    for name, level in names.items():
        image = np.full(shape, level)
        if suffix == ".png":
            image[0, 0] = 0  # a flat image says nothing about its size
            Image.fromarray((image * 255).astype(np.uint8)).save(path / f"{name}.png")
        else:
            np.save(path / f"{name}.npy", image)
    return path


def test_a_folder_named_by_patterns(tmp_path):
    folder = folder_of_images(tmp_path / "f", {"pattern_0009": 0.5, "pattern_3": 0.25, "open": 1.0, "remarks": 3.0})
    maps = FineTileMaps.from_file(folder, BOARD)
    assert (maps.subpixels, maps.board_sha256) == (4, BOARD.sha256)
    assert maps.select([3, 9]).mean(axis=(1, 2)).tolist() == [0.25, 0.5]
    assert maps.open_tile().min() == 1
    assert TileMaps.from_file(folder, BOARD).maps.shape == (2, 8, 8)


def test_a_folder_named_by_tiles_needs_the_board(tmp_path):
    folder = folder_of_images(tmp_path / "f", {"tile_0002": 0.4}, suffix=".png")
    maps = TileMaps.from_file(folder, BOARD)
    assert maps.pattern_index.tolist() == [BOARD.pattern_index_of(2)]
    assert maps.maps[0, 4, 4] == pytest.approx(0.4)
    with pytest.raises(CxgiError, match="give the board"):
        TileMaps.from_file(folder)


@pytest.mark.parametrize(
    ("names", "shape", "message"),
    [
        ({}, (8, 8), "has no image called"),
        ({"pattern_1": 0.5}, (8, 9), "cut them to whole mask pixels"),
        ({"pattern_1": 0.5}, (12, 12), "cut them to whole mask pixels"),
        ({"pattern_64": 0.5}, (8, 8), "outside 0..63"),
        ({"tile_64": 0.5}, (8, 8), r"tiles 0\.\.63 only"),
        ({"tile_0": 0.5, "pattern_0": 0.5}, (8, 8), "has an image already"),
        ({"pattern_1": 40.0}, (8, 8), "divide by the image of the open tile"),
    ],
)
def test_folders_that_do_not_fit(tmp_path, names, shape, message):
    with pytest.raises(CxgiError, match=message):
        TileMaps.from_file(folder_of_images(tmp_path / "f", names, shape=shape), BOARD)


def test_images_of_different_shapes(tmp_path):
    folder = folder_of_images(tmp_path / "f", {"pattern_1": 0.5})
    np.save(folder / "pattern_2.npy", np.full((16, 16), 0.5))
    with pytest.raises(CxgiError, match="different shapes"):
        TileMaps.from_file(folder, BOARD)


def test_a_perfect_tiles_map_is_its_pattern():
    levels = np.where(pattern(8, 9) > 0, 1.0, BOARD.t0)
    maps = TileMaps(8, np.array([9]), levels[None], None, small_board(alignment=Alignment()).sha256, "")
    np.testing.assert_allclose(maps.select([9])[0], levels, atol=1e-6)
