"""``cxgi reconstruct --tile-maps``: files and folders of measured masks, with and without the board."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from bluesky import RunEngine

from cxgi_bluesky.catalog import find_run, run_writer
from cxgi_bluesky.cli.program import main
from cxgi_bluesky.devices.simulated.beamline import simulated_beamline
from cxgi_bluesky.masks.board import load_board
from cxgi_bluesky.masks.pattern_set import PatternSet
from cxgi_bluesky.session.reconstruct_run import reconstruct_run
from cxgi_bluesky.simulation.board.etching import Defects
from cxgi_bluesky.simulation.scans import record_fine_tile_maps
from tests.conftest import QUIET, small_board, small_scan

UNCHECKED = "the maps do not say of which board they are"


def as_images(folder, maps, board, kind):
    """A folder of the maps as a camera's images, named by tile or by pattern."""
    folder.mkdir()
    for index, image in zip(maps.pattern_index, maps.maps, strict=True):
        number = board.tile_of(index) if kind == "tile" else index
        np.save(folder / f"{kind}_{number:04d}.npy", image)
    np.save(folder / "open.npy", maps.open_tile())
    return folder


pytestmark = pytest.mark.usefixtures("opened_once")


@pytest.fixture(scope="module")
def stored(folder, catalog):
    """Runs on a board of one's own and on one that ships, and maps of their tiles in several shapes."""
    engine = RunEngine({})
    engine.subscribe(run_writer(catalog))
    parameters = replace(QUIET, subpixels=2, defects=Defects(corner_um=1.0, offset_rms_um=0.8, seed=3))
    line = simulated_beamline(small_board(), "CAS", parameters=parameters)
    (run,) = engine(small_scan(line))
    line.board.to_yaml(folder / "board.yaml")
    fine = record_fine_tile_maps(line.simulation, PatternSet(8, 64))
    fine.to_file(folder / "maps.h5")
    replace(fine, board_sha256=None).to_file(folder / "nameless.h5")
    for kind in ("tile", "pattern"):
        as_images(folder / f"{kind}s", fine, line.board, kind)
    shipped = simulated_beamline(load_board("cu32"), "CAS", parameters=QUIET)
    (shipped_run,) = engine(small_scan(shipped, 16))
    as_images(folder / "cu32", record_fine_tile_maps(shipped.simulation, PatternSet(32, 16)), shipped.board, "tile")
    words = {"method": "inverse", "tile_maps": fine.average(), "record": False}
    expected, _ = reconstruct_run(catalog, find_run(catalog, run), **words)
    return {"folder": folder, "run": run, "cu32_run": shipped_run, "expected": expected.image}


def reconstructed(stored, tmp_path, capsys, target, *more):
    """Status and what was said to people."""
    words = [str(word).format(**stored) for word in more]
    out = ["--out", str(tmp_path / "a.npy"), "--data", str(stored["folder"])]
    status = main(["reconstruct", stored.get(target, str(target)), "--method", "inverse", *out, *words])
    printed = capsys.readouterr()
    return status, printed.out + printed.err


@pytest.mark.parametrize(
    ("maps", "board", "unchecked"),
    [
        ("maps.h5", None, False),
        ("nameless.h5", None, True),
        ("nameless.h5", "board.yaml", False),
        ("tiles", "board.yaml", False),
        ("patterns", None, True),
    ],
)
def test_files_and_folders_give_the_same_picture(stored, tmp_path, capsys, maps, board, unchecked):
    """Sub-pixels and the names of tiles are understood as soon as the board or the size is known."""
    words = ("--tile-maps", f"{{folder}}/{maps}", *(() if board is None else ("--board", f"{{folder}}/{board}")))
    status, said = reconstructed(stored, tmp_path, capsys, "run", *words)
    assert status == 0, said
    assert (UNCHECKED in said) is unchecked
    np.testing.assert_allclose(np.load(tmp_path / "a.npy"), stored["expected"], atol=1e-5)


@pytest.mark.parametrize("board", [(), ("--board", "cu32")])
def test_a_board_that_ships_is_found_by_itself(stored, tmp_path, capsys, board):
    status, said = reconstructed(stored, tmp_path, capsys, "cu32_run", "--tile-maps", "{folder}/cu32", *board)
    assert status == 0, said
    assert (f"{UNCHECKED}: taken for those of cu32, not checked" in said) is (not board)


@pytest.mark.parametrize(
    ("maps", "unchecked"),
    [(("{folder}/patterns",), True), (("{folder}/tiles", "--board", "{folder}/board.yaml"), False)],
)
def test_a_file_of_buckets_takes_the_size_or_the_board(stored, tmp_path, capsys, maps, unchecked):
    file = tmp_path / "b.csv"
    file.write_text("pattern_index,bucket\n" + "\n".join(f"{k},{10 + k % 3}" for k in range(64)))
    words = "--size", 8, "--coding", "binary", "--d-r", 0.83, "--tile-maps"
    status, said = reconstructed(stored, tmp_path, capsys, file, *words, *maps)
    assert (status, UNCHECKED in said) == (0, unchecked), said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("--board", "au64"), "--board is for --tile-maps"),
        (("--tile-maps", "{folder}/tiles"), "give the board (--board)"),
        (("--tile-maps", "{folder}/patterns", "--board", "au64"), "is not the board of this run, 'test8'"),
        (("--tile-maps", "{folder}/maps.h5", "--board", "au65"), "board 'au65' is unknown"),
        (("--tile-maps", "{folder}/cu32"), "give the board (--board)"),
    ],
)
def test_what_does_not_belong_together(stored, tmp_path, capsys, words, message):
    status, said = reconstructed(stored, tmp_path, capsys, "run", *words)
    assert status == 2
    assert message in said
