from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from cxgi_bluesky.analysis.metrics import compare
from cxgi_bluesky.catalog import open_catalog, record_reconstruction
from cxgi_bluesky.cli.program import main
from cxgi_bluesky.masks.pattern_set import pattern
from cxgi_bluesky.reconstruction.result import Reconstruction, grey_values
from cxgi_bluesky.simulation.objects.paper import gold_semi_cylinder
from cxgi_bluesky.simulation.objects.rendering import block_mean

GOLD = block_mean(gold_semi_cylinder(64, 4), 4).astype(float)
NOISY = GOLD + 0.1 * np.random.default_rng(0).normal(size=GOLD.shape)


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    np.save("noisy.npy", NOISY)
    np.save("truth.npy", GOLD)
    np.save("flat.npy", np.ones((64, 64)))
    np.save("nan.npy", np.where(GOLD > 0.5, np.nan, GOLD))
    np.save("noise.npy", np.random.default_rng(1).normal(size=(64, 64)))
    np.save("small.npy", GOLD[:32])
    Image.fromarray(grey_values(NOISY)).save("noisy.png")
    return tmp_path


def answer(capsys, *arguments):
    assert main(["quality", *arguments, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


def test_everything_about_a_picture(files, capsys):
    numbers = answer(
        capsys, "noisy.npy", "--truth", "truth.npy", "--pixel-um", "10", "--gap", "auto", "--out", "figure.png"
    )
    assert numbers["truth"] == {
        "file": "truth.npy",
        **compare(NOISY, GOLD),
        "psnr_raw_db": pytest.approx(20, abs=0.2),
    }
    edge, gap = numbers["edge"], numbers["gap"]
    assert edge["width_um"] == pytest.approx(10 * edge["width_px"])
    assert abs(edge["width_px"] - 0.79) < 3 * edge["width_sigma_px"]
    assert abs(gap["equivalent_width_um"] - 10) < 3 * gap["equivalent_width_sigma_um"]
    assert gap["verdict"] == "resolution limit"
    assert numbers["mtf"]["mtf50_per_mm"] == pytest.approx(100 * numbers["mtf"]["mtf50_per_px"])
    with Image.open("figure.png") as figure:
        assert min(figure.size) > 500
        assert np.asarray(figure.convert("L")).std() > 20


def test_the_table_has_units(files, capsys):
    assert main(["quality", "noisy.npy", "--pixel-um", "10", "--gap", "31,22,31,36", "--gap-width", "7"]) == 0
    text = capsys.readouterr().out
    for words in ("64 x 64 pixels of 10 um", "10-90 % width", "cycles/mm", "MTF at Nyquist", "width at half depth"):
        assert words in text
    assert "eq. 1 needs --truth" in text


def test_a_saved_png_gives_what_its_numbers_gave(files, capsys):
    box = ("--edge", "26,38,46,58")
    picture, numbers = answer(capsys, "noisy.png", *box), answer(capsys, "noisy.npy", *box)
    assert picture["size"] == [64, 64]
    assert picture["enlarged_by"] == 8
    assert picture["levels"]["d_r"] is None  # grey values have no zero of their own
    assert numbers["levels"]["d_r"] == pytest.approx(0.97, abs=0.03)
    assert picture["edge"]["width_px"] == pytest.approx(numbers["edge"]["width_px"], abs=0.05)
    assert picture["pixel_um"] is None
    assert "width_um" not in picture["edge"]


def test_a_reconstruction_of_the_catalog_brings_its_pixel_size(files, capsys):
    result = Reconstruction(NOISY, "transmission", "tv", {}, 0.1, 768)
    uid = record_reconstruction(open_catalog("data", to_write=True), result, pixel_um=12.5)
    numbers = answer(capsys, uid[:8], "--data", "data")
    assert (numbers["image"], numbers["pixel_um"], numbers["zero"]) == (uid, 12.5, "no light")
    assert numbers["edge"] == answer(capsys, "noisy.npy", "--pixel-um", "12.5")["edge"]
    assert main(["quality", "feedbeef", "--data", "data"]) == 2
    assert "feedbeef" in capsys.readouterr().err


def test_no_edge_is_no_disaster_unless_one_was_named(files, capsys):
    numbers = answer(capsys, "noise.npy")
    assert numbers["edge"] is None
    assert numbers["mtf"] is None
    assert numbers["levels"]["cnr_otsu"] == pytest.approx(1.9, abs=0.1)
    assert answer(capsys, "noisy.npy", "--edge", "none")["edge"] is None
    assert answer(capsys, "noisy.npy", "--edge-line", "32,40,32,62")["edge"]["angle_deg"] == pytest.approx(12, abs=3)


def test_the_masks_modulation_depth(files, capsys):
    assert answer(capsys, "noisy.npy", "--open", "10", "--metal", "1.7")["mask_d_r"] == pytest.approx(0.83)


def test_d_r_of_a_tile_in_a_cameras_picture(files, capsys):
    rng = np.random.default_rng(0)
    design = pattern(16, 4 * 16 + 8).repeat(8, axis=0).repeat(8, axis=1)
    light = 1000 * (1 + 0.3 * np.linspace(-1, 1, 128))
    np.save("tile.npy", light * np.where(design > 0, 1, 0.25) + 20 * rng.normal(size=design.shape))
    for words in (["--tile", "72", "--tile-size", "16"], ["--tile", "auto"]):
        tile = answer(capsys, "tile.npy", "--edge", "none", *words)["tile"]
        assert tile["d_r"] == pytest.approx(0.75, abs=0.004)
        assert tile["unevenness"] == pytest.approx(0.3 / np.sqrt(3), rel=0.05)
    assert main(["quality", "tile.npy", "--tile", "auto"]) == 0
    assert "tile: D_r 75" in capsys.readouterr().out
    assert answer(capsys, "noisy.npy")["tile"] is None


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["none.npy"], "cannot be read"),
        (["flat.npy"], "flat"),
        (["nan.npy"], "NaN"),
        (["noise.npy", "--edge", "10,24,10,24"], "no edge in rows 10..24"),
        (["noise.npy", "--gap", "auto"], "no gap found"),
        (["noisy.npy", "--edge", "0,70,0,10"], "not inside the image of 64 x 64"),
        (["noisy.npy", "--edge", "1,2,3"], "four numbers R0,R1,C0,C1"),
        (["noisy.npy", "--gap", "1,2,3,x"], "four numbers R0,C0,R1,C1"),
        (["noisy.npy", "--gap", "1,2,3,nan"], "four numbers"),
        (["noisy.npy", "--gap", "31,22,31,64"], "not inside"),
        (["noisy.npy", "--gap-width", "3"], "needs --gap"),
        (["noisy.npy", "--truth", "small.npy"], "differ in shape"),
        (["noisy.npy", "--truth", "noise.npy"], "a transmission lies within 0..1"),
        (["noisy.npy", "--pixel-um", "0"], "positive size"),
        (["noisy.npy", "--pixel-um", "nan"], "positive size"),
        (["noisy.npy", "--open", "3"], "belong together"),
        (["noisy.npy", "--tile", "7"], "--tile-size"),
        (["noisy.npy", "--tile", "7", "--tile-size", "48"], "power of two"),
        (["noisy.npy", "--tile", "x", "--tile-size", "64"], "give a pattern_index"),
        (["noisy.npy", "--open", "0", "--metal", "0"], "D_max 0"),
        (["noisy.npy", "--out", "a.jpg"], "no figure"),
        (["noisy.npy", "--out", "no/a.png"], "does not exist"),
        (["noisy.npy", "--edge", "1,20,1,20", "--edge-line", "1,1,9,9"], "use one"),
    ],
)
def test_bad_requests_get_one_line(files, capsys, arguments, message):
    assert main(["quality", *arguments, "--json"]) == 2
    printed = capsys.readouterr()
    assert message in json.loads(printed.out)["error"]
    assert printed.err.count("\n") == 1
