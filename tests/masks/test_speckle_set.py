from __future__ import annotations

import os
import subprocess
import sys

import h5py
import numpy as np
import pytest

from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.masks.pattern_set import PatternSet
from cxgi_bluesky.masks.speckle_board import SpeckleBoard
from cxgi_bluesky.masks.speckle_files import SpeckleWriter, find_speckles, register_speckles, write_speckles
from cxgi_bluesky.masks.speckle_set import SpeckleSet

FRAMES = np.random.default_rng(0).integers(50, 4000, size=(40, 9, 7)).astype(np.uint16)


@pytest.fixture
def asset(tmp_path):
    return write_speckles(tmp_path / "paper.h5", FRAMES, pixel_um=150.0, grain_um=140.0, source={"by": "test"})


def test_what_was_written_is_read(asset):
    again = SpeckleSet.open(asset.path)
    assert (again.shape, again.size, again.count, again.pixel_um) == ((40, 9, 7), (9, 7), 40, 150.0)
    assert (again.grain_um, again.board_sha256, dict(again.source)) == (140.0, None, {"by": "test"})
    assert again.sha256 == asset.sha256
    np.testing.assert_array_equal(again.pattern_index, np.arange(40))


@pytest.mark.parametrize(
    "key", [3, slice(5, 12), [7, 3, 3, 39], np.array([39, 0, 20]), [], slice(None)], ids=lambda key: str(key)[:12]
)
def test_patterns_are_read_as_an_array_would_be(asset, key):
    key = np.array(key, dtype=int) if isinstance(key, list) else key
    np.testing.assert_array_equal(asset[key], FRAMES[key])
    with pytest.raises(IndexError):
        asset[40]


def test_the_dark_frame_is_subtracted_and_part_of_the_identity(tmp_path, asset):
    with SpeckleWriter(tmp_path / "dark.h5", 40, (9, 7), pixel_um=150.0) as writer:
        for level in (98, 102):
            writer.put_dark(np.full((9, 7), level))
        for k, frame in enumerate(FRAMES):
            writer.put(k, frame)
    speckles = writer.finish()
    np.testing.assert_array_equal(speckles[:], FRAMES.astype(float) - 100)
    assert speckles.sha256 != asset.sha256
    with h5py.File(speckles.path, "r+") as file:
        file["speckles/dark"][0, 0] = 99
    with pytest.raises(CxgiError, match="not those that were recorded"):
        SpeckleSet.open(speckles.path)


def test_the_same_patterns_have_the_same_sha256_whatever_else_is_said(tmp_path, asset):
    other = write_speckles(tmp_path / "other.h5", FRAMES.astype(">u2"), pixel_um=10.0)
    assert other.sha256 == asset.sha256
    changed = FRAMES.copy()
    changed[-1, -1, -1] += 1
    assert write_speckles(tmp_path / "changed.h5", changed, pixel_um=150.0).sha256 != asset.sha256


def test_frames_in_any_order_and_again(tmp_path):
    with SpeckleWriter(tmp_path / "a.h5", 40, (9, 7), pixel_um=150.0) as writer:
        for k in np.random.default_rng(1).permutation(40):
            writer.put(int(k), FRAMES[0])
            writer.put(int(k), FRAMES[k])
    np.testing.assert_array_equal(writer.finish()[:], FRAMES)


def test_a_recording_cut_short_is_a_set_of_its_first_frames(tmp_path):
    with SpeckleWriter(tmp_path / "a.h5", 40, (9, 7), pixel_um=150.0) as writer:
        for k in (*range(12), 20):
            writer.put(k, FRAMES[k])
    np.testing.assert_array_equal(writer.finish()[:], FRAMES[:12])
    empty = SpeckleWriter(tmp_path / "b.h5", 40, (9, 7), pixel_um=150.0)
    with pytest.raises(CxgiError, match="no speckle pattern was recorded"):
        empty.finish()
    assert sorted(os.listdir(tmp_path)) == ["a.h5"]


def test_a_failed_writing_leaves_nothing_behind(tmp_path):
    def recording():
        with SpeckleWriter(tmp_path / "a.h5", 4, (9, 7), pixel_um=1.0) as writer:
            writer.put(0, FRAMES[0])
            raise RuntimeError("beam lost")

    with pytest.raises(RuntimeError, match="beam lost"):
        recording()
    assert os.listdir(tmp_path) == []


def test_a_crash_leaves_the_frames_and_no_later_recording_destroys_them(tmp_path):
    program = (
        "import os, signal, sys\n"
        "from tests.masks.test_speckle_set import FRAMES, SpeckleWriter\n"
        "writer = SpeckleWriter(sys.argv[1], 40, (9, 7), pixel_um=150.0)\n"
        "for k in range(5): writer.put(k, FRAMES[k])\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    subprocess.run([sys.executable, "-c", program, str(tmp_path / "a.h5")], check=False)
    part = tmp_path / "a.h5.part"
    before = part.read_bytes()
    with pytest.raises(CxgiError, match=r"a\.h5\.part holds a recording .* move it away .* or delete it to discard"):
        write_speckles(tmp_path / "a.h5", FRAMES, pixel_um=150.0)
    assert part.read_bytes() == before
    with h5py.File(part.rename(tmp_path / "saved.h5")) as file:
        frames = file["speckles/patterns"][:]
    np.testing.assert_array_equal(frames[:5], FRAMES[:5])
    assert not frames[5:].any()
    np.testing.assert_array_equal(write_speckles(tmp_path / "a.h5", frames[:5], pixel_um=150.0)[:], FRAMES[:5])


def test_what_cannot_be_recorded_is_refused(tmp_path, asset):
    with pytest.raises(CxgiError, match="never overwritten"):
        write_speckles(asset.path, FRAMES, pixel_um=150.0)
    with pytest.raises(CxgiError, match="pixel_um nan"):
        write_speckles(tmp_path / "x.h5", FRAMES, pixel_um=float("nan"))
    with pytest.raises(CxgiError, match=r"shape \(9, 7\)"):
        write_speckles(tmp_path / "x.h5", FRAMES[0], pixel_um=1.0)
    with pytest.raises(CxgiError, match="are no numbers"):
        write_speckles(tmp_path / "x.h5", FRAMES.astype(complex), pixel_um=1.0)
    holes = np.where(np.arange(40)[:, None, None] == 3, np.nan, FRAMES)
    with pytest.raises(CxgiError, match="frame 3 has pixels that are no numbers"):
        write_speckles(tmp_path / "x.h5", holes, pixel_um=1.0)
    with pytest.raises(CxgiError, match="cannot be written"):
        write_speckles(tmp_path / "no folder" / "x.h5", FRAMES, pixel_um=1.0)
    with SpeckleWriter(tmp_path / "y.h5", 4, (9, 7), pixel_um=1.0) as writer:
        with pytest.raises(CxgiError, match=r"frame 4 is outside 0..3"):
            writer.put(4, FRAMES[0])
        with pytest.raises(CxgiError, match=r"shape \(7, 9\)"):
            writer.put(0, FRAMES[0].T)
        writer.abandon()
    assert os.listdir(tmp_path) == ["paper.h5"]


# ---------------------------------------------------------------- damage


@pytest.mark.parametrize("kept", [0, 10, 0.3, 0.9])
def test_a_file_cut_short(asset, kept):
    content = asset.path.read_bytes()
    asset.path.write_bytes(content[: int(kept if kept >= 1 else kept * len(content))])
    with pytest.raises(CxgiError, match=r"paper.h5 cannot be read"):
        SpeckleSet.open(asset.path)


def test_any_flipped_bit_of_the_patterns_is_found(asset):
    content = bytearray(asset.path.read_bytes())
    place = bytes(content).index(FRAMES[0, :2].tobytes())
    for offset in (0, 1, 5040, FRAMES.nbytes - 1):
        flipped = content.copy()
        flipped[place + offset] ^= 4
        asset.path.write_bytes(flipped)
        with pytest.raises(CxgiError, match=r"paper.h5 (cannot be read|are not those)"):
            SpeckleSet.open(asset.path)


def test_replaced_patterns_and_other_files(tmp_path, asset):
    with h5py.File(asset.path, "r+") as file:
        file["speckles/patterns"][3, 2, 1] += 1
    with pytest.raises(CxgiError, match=r"not those that were recorded \(sha256 .*use a sound copy"):
        SpeckleSet.open(asset.path)
    with pytest.raises(CxgiError, match=r"none.h5 cannot be read .*No such file"):
        SpeckleSet.open(tmp_path / "none.h5")
    with h5py.File(tmp_path / "other.h5", "w") as file:
        file["x"] = 1
    with pytest.raises(CxgiError, match="holds no speckle patterns"):
        SpeckleSet.open(tmp_path / "other.h5")
    with h5py.File(tmp_path / "future.h5", "w") as file:
        file.create_group("speckles").attrs["cxgi_speckles"] = 2
    with pytest.raises(CxgiError, match="cxgi_speckles = 1"):
        SpeckleSet.open(tmp_path / "future.h5")


# ---------------------------------------------------------------- where assets are


def test_registered_once_and_found_by_sha256(tmp_path, asset):
    data = tmp_path / "data"
    kept = register_speckles(asset.path, data)
    assert kept.path == data / "speckles" / f"{asset.sha256}.h5"
    assert register_speckles(asset, data).path == kept.path
    words = asset.first(30).to_dict()
    asset.path.unlink()
    found = find_speckles(words, folder=data)
    assert (found.path, found.count, found.recorded) == (kept.path, 30, 40)
    np.testing.assert_array_equal(found[:], FRAMES[:30])


def test_another_file_system_gets_a_copy(tmp_path, asset, monkeypatch):
    def refuse(*args):
        raise OSError("Invalid cross-device link")

    monkeypatch.setattr(os, "link", refuse)
    kept = register_speckles(asset.path, tmp_path / "data")
    assert not kept.path.samefile(asset.path)
    assert os.listdir(kept.path.parent) == [kept.path.name]


def test_by_path_and_where_it_was(tmp_path, asset):
    words = asset.to_dict()
    assert find_speckles(words).path == asset.path
    moved = asset.path.rename(tmp_path / "moved.h5")
    assert find_speckles(words, path=moved).path == moved
    with pytest.raises(CxgiError, match=rf"sha256 {asset.sha256} are not here .*--speckles FILE"):
        find_speckles(words, folder=tmp_path)
    other = write_speckles(tmp_path / "other.h5", FRAMES[::-1], pixel_um=150.0)
    with pytest.raises(CxgiError, match=f"holds other patterns .sha256 {other.sha256[:12]}"):
        find_speckles(words, path=other.path)
    with pytest.raises(CxgiError, match="names no recorded speckle"):
        find_speckles(PatternSet(8, 3).to_dict())


def test_the_first_patterns(asset):
    few = asset.first(5)
    assert (few.shape, len(few), few.sha256) == ((5, 9, 7), 5, asset.sha256)
    np.testing.assert_array_equal(few[:], FRAMES[:5])
    with pytest.raises(CxgiError, match=r"count 41 is outside 1..40"):
        asset.first(41)


# ---------------------------------------------------------------- the board


def board(**changes) -> SpeckleBoard:
    words = {"name": "p", "size": (9, 7), "pixel_um": 150.0, "step_um": 400.0, "count": 11, "columns": 4}
    return SpeckleBoard(**{**words, "x0_mm": 1.0, "y0_mm": -2.0, **changes})


def test_positions_run_to_and_fro_with_one_step_each():
    places = np.array([board().position_mm(t) for t in range(11)])
    assert np.abs(np.diff(places, axis=0)).sum(axis=1) == pytest.approx(0.4)
    assert len({tuple(np.round(place, 6)) for place in places}) == 11
    assert board().position_mm(0) == (1.0, -2.0)
    assert board().position_mm(board().open_tile_number) == pytest.approx((-19.0, -2.0))


def test_the_nearest_position_is_that_of_a_search():
    b, rng = board(), np.random.default_rng(0)
    places = np.array([b.position_mm(t) for t in range(b.tile_count)])
    for x, y in rng.uniform(-22, 5, size=(300, 2)):
        distance = np.hypot(*(places - [x, y]).T) * 1000
        tile, found = b.nearest_tile(x, y)
        assert found == pytest.approx(distance.min())
        assert tile == int(np.argmin(distance))


def test_a_board_offers_what_a_scan_asks(asset):
    b = board(count=40)
    assert b.tiles_along(asset.first(12), "snake") == list(range(12))
    assert (b.pattern_index_of(3), b.pattern_index_of(b.open_tile_number)) == (3, -1)
    assert b.sha256 != board().sha256
    for call, message in [
        (lambda: b.tiles_along(asset, "spiral"), "'spiral' is unknown"),
        (lambda: b.tiles_along(PatternSet(8, 4), "order"), "needs recorded patterns"),
        (lambda: board().tiles_along(asset, "order"), "no position 11"),
        (lambda: b.position_mm(42), "tile 42"),
        (lambda: board(step_um=0.0), "step_um 0.0"),
        (lambda: board(count=0), "0 positions"),
    ]:
        with pytest.raises(CxgiError, match=message):
            call()


def test_patterns_of_other_positions_are_refused(tmp_path):
    other = write_speckles(
        tmp_path / "o.h5", FRAMES, pixel_um=150.0, board_sha256=board(step_um=500.0, count=40).sha256
    )
    with pytest.raises(CxgiError, match=r"recorded at the positions of another board .*record them again"):
        board(count=40).tiles_along(other, "order")


def test_a_digest_that_is_a_path_opens_no_file(tmp_path):
    with pytest.raises(CxgiError, match="a digest has digits"):
        find_speckles({"basis": "speckle", "sha256": "../../x", "count": 4}, folder=tmp_path)
