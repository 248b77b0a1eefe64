"""Reference, dark and metal scans, and tile maps, as a user of the command line meets them."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from bluesky import RunEngine

from cxgi_bluesky.analysis.metrics import affine_fit
from cxgi_bluesky.catalog import run_writer
from cxgi_bluesky.cli.program import main
from cxgi_bluesky.devices.simulated.beamline import simulated_beamline
from cxgi_bluesky.masks.pattern_set import PatternSet
from cxgi_bluesky.plans import dark_scan, metal_scan, reference_scan
from cxgi_bluesky.simulation.board.etching import Defects
from cxgi_bluesky.simulation.scans import record_tile_maps
from tests.conftest import QUIET, small_board, small_scan

pytestmark = pytest.mark.usefixtures("opened_once")


@pytest.fixture(scope="module")
def stored(folder, catalog):
    """A catalog with a reference scan, two images of it, a metal and a dark scan; and maps of the tiles."""
    detector = replace(QUIET.detector, background_pa=0.3)
    parameters = replace(QUIET, detector=detector, defects=Defects(corner_um=1.0, offset_rms_um=0.8, seed=3))
    line = simulated_beamline(small_board(), "CAS", parameters=parameters)
    devices = line.stage, line.shutter, line.diode
    engine = RunEngine({})
    engine.subscribe(run_writer(catalog))
    words = {"board": line.board, "exposure_s": 1.0, "object_stage": line.object_stage}
    (reference,) = engine(reference_scan(*devices, pattern_set=PatternSet(8, 64), **words))
    (image,) = engine(small_scan(line, reference_uid=reference))
    (other,) = engine(small_scan(line, 12, dark_exposures=0))
    (dark,) = engine(dark_scan(line.shutter, line.diode, exposure_s=1.0))
    (linked,) = engine(small_scan(line, 4, dark_exposures=0, dark_uid=dark, metal_exposures=2))
    (lost,) = engine(small_scan(line, 4, dark_exposures=0, dark_uid="feedbeef", metal_exposures=2))
    (metal,) = engine(metal_scan(*devices, **words))
    maps = folder / "maps.h5"
    record_tile_maps(line.simulation, PatternSet(8, 64)).to_file(maps)
    uids = {
        "linked": linked,
        "lost": lost,
        "reference": reference,
        "image": image,
        "other": other,
        "metal": metal,
        "dark": dark,
    }
    return {"folder": str(folder), "maps": str(maps), "truth": line.simulation.truth, **uids}


def call(capsys, *arguments) -> tuple[int, dict]:
    status = main([*map(str, arguments), "--json"])
    return status, json.loads(capsys.readouterr().out)


def picture_error(stored, tmp_path, capsys, *more) -> tuple[float, dict]:
    out = tmp_path / "a.npy"
    words = ("reconstruct", stored["image"][:8], "--method", "inverse", "--out", out, "--data", stored["folder"])
    status, answer = call(capsys, *words, *more)
    assert status == 0
    return float(np.std(affine_fit(np.load(out), stored["truth"]) - stored["truth"])), answer


def test_the_reference_is_used_named_and_left_out(stored, tmp_path, capsys):
    used, answer = picture_error(stored, tmp_path, capsys)
    assert answer["source"]["reference_uids"] == [stored["reference"]]
    assert answer["source"]["mask_error"] > 0.02
    named, _ = picture_error(stored, tmp_path, capsys, "--reference", stored["reference"][:8])
    plain, answer = picture_error(stored, tmp_path, capsys, "--reference", "none")
    assert used == named < 0.6 * plain
    assert "reference_uids" not in answer["source"]


def test_maps_of_the_tiles_are_used(stored, tmp_path, capsys):
    plain, _ = picture_error(stored, tmp_path, capsys, "--reference", "none")
    mapped, answer = picture_error(stored, tmp_path, capsys, "--tile-maps", stored["maps"])
    assert mapped < 0.6 * plain
    assert len(answer["source"]["tile_maps_sha256"]) == 64


def test_what_is_said_to_people(stored, tmp_path, capsys):
    out = tmp_path / "a.png"
    assert main(["reconstruct", stored["image"][:8], "--out", str(out), "--data", stored["folder"]]) == 0
    assert f"corrected by reference scan {stored['reference'][:8]}" in capsys.readouterr().out
    assert main(["runs", "--data", stored["folder"]]) == 0
    listed = capsys.readouterr().out
    for kind in ("reference scan, board test8", "metal scan", "dark scan"):
        assert kind in listed
    assert main(["show", stored["metal"], "--data", stored["folder"]]) == 0
    assert "D_r measured: 0.8" in capsys.readouterr().out


def test_the_dark_of_another_run_is_used_and_left_out(stored, tmp_path, capsys):
    shown = "show", "--data", stored["folder"]
    status, answer = call(capsys, *shown, stored["linked"])
    assert status == 0
    assert answer["d_r_measured"][0] == pytest.approx(0.83, abs=3e-3)
    status, answer = call(capsys, *shown, stored["lost"])
    assert (status, answer["d_r_measured"]) == (0, None)
    words = (
        "reconstruct",
        stored["lost"],
        "--out",
        tmp_path / "a.npy",
        "--data",
        stored["folder"],
        "--method",
        "inverse",
    )
    status, answer = call(capsys, *words)
    assert status == 2
    assert "the dark run that this image names" in answer["error"]
    status, answer = call(capsys, *words, "--dark-run", "none")
    assert status == 0
    assert answer["source"]["dark_subtracted"] == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--reference", "{other}"), "no reference scan"),
        (("--reference", "feedbeef"), "'feedbeef' is not in the catalog"),
        (("--tile-maps", "nowhere.h5"), "nowhere.h5"),
    ],
)
def test_what_does_not_belong_is_refused(stored, tmp_path, capsys, arguments, message):
    words = [word.format(**stored) for word in arguments]
    out = tmp_path / "a.png"
    status, answer = call(capsys, "reconstruct", stored["image"], "--out", out, "--data", stored["folder"], *words)
    assert status == 2
    assert message in answer["error"]
    assert not out.exists()


def test_a_reference_of_another_pattern_set_is_refused(stored, tmp_path, capsys):
    words = "reconstruct", stored["other"], "--out", tmp_path / "a.png", "--data", stored["folder"]
    status, answer = call(capsys, *words, "--reference", stored["reference"])
    assert status == 2
    assert "another pattern set (64 of zig-zag, size 8; the image's is 12 of zig-zag, size 8)" in answer["error"]


def test_no_picture_of_a_dark_scan(stored, tmp_path, capsys):
    words = "reconstruct", stored["dark"], "--out", tmp_path / "a.png", "--data", stored["folder"]
    status, answer = call(capsys, *words)
    assert status == 2
    assert "dark scan" in answer["error"]


def test_d_r_as_measured_beside_the_predicted(stored, capsys):
    words = "d-r", "--metal", "Au", "--thickness-um", "10", "--energy-kev", "17.5", "--data", stored["folder"]
    status, answer = call(capsys, *words, "--run", stored["metal"])
    assert status == 0
    assert answer["measured_d_r"] == pytest.approx(0.83, abs=0.01)
    assert answer["predicted_d_r"] == pytest.approx(0.88, abs=0.02)
    status, answer = call(capsys, *words, "--run", stored["other"])
    assert status == 2
    assert "no all-metal exposures" in answer["error"]


def test_d_r_of_a_run_alone(stored, capsys):
    status, answer = call(capsys, "d-r", "--run", stored["metal"], "--data", stored["folder"])
    assert status == 0
    assert answer["measured_d_r"] == pytest.approx(0.83, abs=0.01)
    assert answer["measured_sigma"] >= 0
    assert answer["board_d_r"] == 0.83
    nothing = ("predicted_d_r", "metal", "thickness_um", "substrate", "spectrum", "mean_kev", "diode_um", "veil")
    assert {answer[name] for name in nothing} == {None}
    assert main(["d-r", "--run", stored["metal"][:8], "--data", stored["folder"]]) == 0
    said = capsys.readouterr().out
    assert "has measured D_r 8" in said
    assert "its board test8 says D_r 83.0%" in said
    assert "predicted" not in said


@pytest.mark.parametrize(
    ("words", "message"), [(("--filter", "Al:1mm"), "which mask"), (("--board", "au64"), "light"), ((), "which mask")]
)
def test_half_a_prediction_is_refused(stored, capsys, words, message):
    run = ("--run", stored["metal"], "--data", stored["folder"]) if words else ()
    status, answer = call(capsys, "d-r", *words, *run)
    assert status == 2
    assert message in answer["error"]


def test_links_are_for_runs(stored, tmp_path, capsys):
    file = tmp_path / "b.csv"
    file.write_text("pattern_index,bucket\n0,1.0\n")
    words = "reconstruct", file, "--size", 8, "--coding", "signed", "--out", tmp_path / "a.png"
    status, answer = call(capsys, *words, "--reference", "none")
    assert status == 2
    assert "--reference is for runs" in answer["error"]
