from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import tifffile
from event_model import compose_run
from PIL import Image

from cxgi_bluesky.analysis.metrics import affine_fit, psnr
from cxgi_bluesky.catalog import open_catalog, writer_of
from cxgi_bluesky.cli._options import plain
from cxgi_bluesky.cli.program import main
from cxgi_bluesky.cli.reconstruct import METHOD_NAMES
from cxgi_bluesky.masks.transform import walsh_hadamard_2d
from cxgi_bluesky.reconstruction.ch_mwcnn.network import CHMWCNN, NetworkConfig
from cxgi_bluesky.reconstruction.ch_mwcnn.weights import save_weights
from cxgi_bluesky.reconstruction.registry import METHODS
from tests import warm
from tests.conftest import smooth_image
from tests.patience import PATIENCE_S

REAL = Path(__file__).parents[3] / "shared" / "data" / "optical_hadamard_32"


def write_csv(path: Path, image: np.ndarray, rows: slice = slice(None)) -> Path:
    coefficients = walsh_hadamard_2d(image).ravel()
    lines = [f"{k},{value:.12g}" for k, value in list(enumerate(coefficients))[rows]]
    path.write_text("pattern_index,bucket\n" + "\n".join(lines) + "\n")
    return path


@pytest.fixture
def file(tmp_path):
    return write_csv(tmp_path / "buckets.csv", smooth_image(32))


def reconstruct(file, out, *more):
    return main(["reconstruct", str(file), "--size", "32", "--coding", "signed", "--out", str(out), *more])


@pytest.mark.parametrize("method", METHOD_NAMES)
def test_a_file_becomes_a_picture(file, tmp_path, capsys, method):
    assert reconstruct(file, tmp_path / "a.npy", "--method", method, "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["method"] == method
    assert (answer["size"], answer["exposures"], answer["scale"]) == (32, 1024, "relative")
    assert answer["seconds"] > 0
    assert answer["out"] == str(tmp_path / "a.npy")
    image = np.load(tmp_path / "a.npy")
    assert psnr(affine_fit(image, smooth_image(32)), smooth_image(32)) > 25


def test_a_subset_of_the_file(file, tmp_path, capsys):
    out = tmp_path / "a.npy"
    assert reconstruct(file, out, "--order", "cake-cutting", "--fraction", "0.1875", "--json") == 0
    assert json.loads(capsys.readouterr().out)["exposures"] == 192
    assert reconstruct(file, out, "--order", "random", "--order-seed", "3", "--fraction", "0.5", "--json") == 0
    assert json.loads(capsys.readouterr().out)["exposures"] == 512


def test_picture_formats(file, tmp_path, capsys):
    for name in ("a.png", "a.npy", "a.tiff", "a.tif"):
        assert reconstruct(file, tmp_path / name, "--method", "inverse") == 0
    values = np.load(tmp_path / "a.npy")
    np.testing.assert_allclose(tifffile.imread(tmp_path / "a.tiff"), values, rtol=1e-6)
    with Image.open(tmp_path / "a.png") as picture:
        assert picture.size == (512, 512)
        assert np.ptp(np.asarray(picture)) == 255
    assert "1024 patterns of 32 x 32" in capsys.readouterr().out


def test_details_say_what_was_not_measured_and_how_uncertain_each_pixel_is(file, tmp_path, capsys):
    out = tmp_path / "leaf.npy"
    assert reconstruct(file, out, "--fraction", "0.3", "--details", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["details"] == {
        name: str(tmp_path / f"leaf-{name}.npy") for name in ("measured", "unmeasured", "uncertainty")
    }
    assert answer["uncertainty_kind"] == "error"
    assert 0 < answer["quality"]["unmeasured_share"] < 1
    sigma, unmeasured = (np.load(tmp_path / f"leaf-{name}.npy") for name in ("uncertainty", "unmeasured"))
    assert sigma.shape == unmeasured.shape == (32, 32)
    assert (sigma > 0).all()
    assert reconstruct(file, out, "--method", "ch-mwcnn", "--fraction", "0.3", "--details", "--json") == 0
    assert set(json.loads(capsys.readouterr().out)["details"]) == {"measured", "unmeasured", "uncertainty"}


def test_details_say_how_much_was_measured_and_what_has_no_uncertainty(file, tmp_path, capsys):
    assert reconstruct(file, tmp_path / "a.npy", "--fraction", "0.3", "--details") == 0
    assert re.search(r"power of the image: \d+\.\d% in measured patterns, \d+\.\d% in", capsys.readouterr().out)
    weights = tmp_path / "tiny.safetensors"
    network = CHMWCNN(NetworkConfig(widths=(4, 4, 4), passes=1, sigma_widths=(4, 4, 4)))
    known = {"sizes": [32], "shortest": 24, "noise_share": 0.6, "zero_level": [0.0, 40.0], "etched_masks": True}
    save_weights(weights, network, {"known": known})
    words = ("--method", "ch-mwcnn", "--weights", str(weights), "--fraction", "0.3", "--details")
    assert reconstruct(file, tmp_path / "a.npy", *words) == 0
    assert "no uncertainty: these weights were trained without it" in capsys.readouterr().out
    assert reconstruct(file, tmp_path / "a.npy", "--method", "tval3", "--fraction", "0.3", "--details") == 0
    assert "no uncertainty: method tval3 has none" in capsys.readouterr().out


def test_what_the_image_has_lost_is_said_and_drawn(file, tmp_path, capsys):
    out = tmp_path / "leaf.npy"
    assert reconstruct(file, out, "--fraction", "0.3", "--residual", "--json") == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["details"] == {"residual": str(tmp_path / "leaf-residual.png")}
    assert isinstance(answer["quality"]["residual_lines"], list)
    with Image.open(tmp_path / "leaf-residual.png") as picture:
        assert picture.mode == "RGB"
        assert picture.size > (512, 512)
    assert reconstruct(file, out, "--fraction", "0.03", "--residual") == 2
    assert "too few to search their residual for lines: measure at least 64" in capsys.readouterr().err


def test_whole_sequencies_that_were_left_out_are_said(file, tmp_path, capsys):
    assert reconstruct(file, tmp_path / "a.npy", "--fraction", "0.5", "--order", "natural") == 0
    assert "CAUTION: 16 of the 32 row sequencies are not measured" in capsys.readouterr().out
    assert reconstruct(file, tmp_path / "a.npy", "--fraction", "0.5") == 0
    assert "CAUTION" not in capsys.readouterr().out


def test_too_few_patterns_for_a_verdict_are_said(file, tmp_path, capsys):
    assert reconstruct(file, tmp_path / "a.npy", "--fraction", str(40 / 1024)) == 0
    assert "NOTE: 40 patterns are too few to tell whether the data support the image" in capsys.readouterr().out


def test_wrong_data_are_called_wrong(tmp_path, capsys):
    image = smooth_image(32)
    coefficients = walsh_hadamard_2d(image).ravel()
    coefficients[1:] = np.random.default_rng(0).permutation(coefficients[1:])
    bad = write_csv(tmp_path / "shuffled.csv", walsh_hadamard_2d(coefficients.reshape(32, 32)) / 1024)
    assert reconstruct(bad, tmp_path / "a.npy", "--method", "tv", "--fraction", "0.3") == 0
    assert "WARNING: do not trust this image" in capsys.readouterr().out
    good = write_csv(tmp_path / "good.csv", image)
    assert reconstruct(good, tmp_path / "a.npy", "--method", "tv", "--fraction", "0.3", "--json") == 0
    assert json.loads(capsys.readouterr().out)["quality"]["held_out"]["supported"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--size", "33", "--coding", "signed"], "33 is not a power of two"),
        (["--size", "16", "--coding", "signed"], "pattern_index 256 is outside 0..255 for size 16"),
        (["--coding", "signed"], "does not say its size: give size=N (--size N)"),
        (["--size", "64", "--coding", "signed", "--fraction", "0.5"], "too few patterns"),
        (["--size", "32", "--coding", "signed", "--fraction", "2"], "fraction 2.0"),
        (["--size", "32", "--coding", "signed", "--order", "natural"], "needs --fraction"),
        (["--size", "32", "--coding", "signed", "--fraction", ".5", "--order", "random"], "--order-seed N"),
        (
            ["--size", "32", "--coding", "signed", "--fraction", ".5", "--order-seed", "3"],
            "--order-seed 3 is for random, variable-density, learned-density: leave it out for order zig-zag",
        ),
        (["--size", "32", "--coding", "binary", "--d-r", "1.5"], "d_r 1.5"),
        (["--size", "32", "--coding", "complementary"], "bucket_complement"),
        (["--size", "512", "--coding", "signed", "--method", "ch-mwcnn"], "size 512 is unknown to the network"),
        (["--size", "32", "--coding", "signed", "--out", "a.jpg"], "no known image suffix"),
        (["--size", "32", "--coding", "signed", "--out", "no/such/a.png"], "does not exist"),
    ],
)
def test_bad_requests_get_one_line(file, capsys, monkeypatch, tmp_path, arguments, message):
    monkeypatch.chdir(tmp_path)
    assert main(["reconstruct", str(file), *arguments]) == 2
    printed = capsys.readouterr()
    assert message in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""
    assert main(["reconstruct", str(file), *arguments, "--json"]) == 2
    assert message in json.loads(capsys.readouterr().out)["error"]


def test_a_missing_file(capsys, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert main(["reconstruct", "none.csv", "--size", "32", "--coding", "signed"]) == 2
    assert "none.csv cannot be read" in capsys.readouterr().err


def test_a_data_folder_that_cannot_be_written(capsys, tmp_path):
    (tmp_path / "file").write_text("")
    for command in (["runs"], ["show", "abcdef"], ["demo", "--out", str(tmp_path / "out")]):
        assert main([*command, "--data", str(tmp_path / "file")]) == 2
        assert "cannot be written" in capsys.readouterr().err


def test_demo_refuses_what_it_does_not_know(capsys, tmp_path):
    base = ["demo", "--out", str(tmp_path / "out"), "--data", str(tmp_path / "data")]
    for more, message in ((["--object", "cat"], "'cat'"), (["--board", "pb1"], "'pb1'")):
        assert main([*base, *more]) == 2
        assert message in capsys.readouterr().err
    (tmp_path / "f").write_text("")
    assert main(["demo", "--out", str(tmp_path / "f" / "out")]) == 2
    assert "cannot be made" in capsys.readouterr().err


def test_methods_of_the_command_line_are_those_of_the_library():
    assert tuple(METHODS) == METHOD_NAMES


def test_json_knows_no_nan():
    values = {"a": float("nan"), "b": [np.float32(1.5), np.array([1.0, np.inf])], "c": (None, True), 1: np.int64(3)}
    assert plain(values) == {"a": None, "b": [1.5, [1.0, None]], "c": [None, True], "1": 3}


@pytest.fixture(scope="module")
def cxgi(tmp_path_factory):
    """Run the installed command in a process of its own, with a data folder of its own."""
    folder = tmp_path_factory.mktemp("cli")
    environment = {**os.environ, "CXGI_DATA": str(folder / "data"), "MPLBACKEND": "Agg"}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "cxgi_bluesky.cli", *arguments]
        return warm.run(command, env=environment, cwd=folder, timeout=2 * PATIENCE_S)

    run.folder = folder
    return run


def test_scan_list_reconstruct_and_show(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("cxgi_bluesky.catalog.open_catalog", cache(open_catalog))  # as `opened_once`
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("CXGI_DATA", "data")
    what = ["--board", "cu32", "--object", "CAS", "--fraction", "0.0625", "--seed", "5"]
    assert main(["demo", *what, "--out", "out", "--json"]) == 0
    numbers = json.loads(capsys.readouterr().out)
    assert numbers["exposures"] == 64
    assert numbers["reference_exposures"] == 4 + 4 + 4
    assert numbers["shutter_open_s"] == numbers["exposure_s"] * (64 + 12)
    assert set(numbers["methods"]) == set(METHOD_NAMES)
    for values in numbers["methods"].values():
        assert {"cnr", "psnr_db", "ssim", "seconds"} <= set(values)
    assert numbers["methods"]["tv"]["cnr"] > 0.5
    pictures = {f.name for f in Path("out").iterdir()}
    assert pictures == {"object.png", "cnr.png", "overview.png", *(f"{m}.png" for m in METHOD_NAMES)}

    assert main(["runs", "--json"]) == 0
    runs = json.loads(capsys.readouterr().out)["runs"]
    assert [r["purpose"] for r in runs] == ["image"] + len(METHOD_NAMES) * ["reconstruction"]
    uid = numbers["run_uid"]
    assert runs[0]["uid"] == uid
    live = next(r["uid"] for r in runs if r["method"] == "correlation")

    assert main(["reconstruct", uid, "--method", "correlation", "--out", "again.npy", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert (answer["method"], answer["exposures"], answer["scale"]) == ("correlation", 64, "relative")
    assert main(["show", live[:8], "--out", "live.npy", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["raw_uids"] == [uid]
    np.testing.assert_array_equal(np.load("again.npy"), np.load("live.npy"))

    number = str(runs[0]["scan_id"])
    newest = answer["run_uid"]
    for name, shown in {"last": uid, "-1": newest, "-2": runs[-1]["uid"], number: uid}.items():
        assert main(["show", name, "--json"]) == 0
        assert json.loads(capsys.readouterr().out)["uid"] == shown
    assert main(["reconstruct", "last", "--method", "inverse", "--json"]) == 0
    assert main(["show", json.loads(capsys.readouterr().out)["run_uid"], "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["raw_uids"] == [uid]
    assert main(["show", "-99"]) == 2
    assert "run -99 from the end: the catalog has 8 runs" in capsys.readouterr().err
    assert main(["show", uid[:8]]) == 0
    assert "scan, board cu32, 64 of 64 patterns" in capsys.readouterr().out
    assert main(["reconstruct", uid, "--size", "32"]) == 2
    assert "--size is for files" in capsys.readouterr().err
    assert main(["show", "last", "--out", "x.png"]) == 0
    assert Path("x.png").is_file()
    assert main(["export", "last", "--json"]) == 0
    assert json.loads(capsys.readouterr().out.splitlines()[-1])["files"][0]["run_uid"] == uid


@pytest.mark.long
def test_ctrl_c_ends_the_demo_cleanly_and_keeps_its_exposures(cxgi, monkeypatch, capsys):
    command = [sys.executable, "-m", "cxgi_bluesky.cli", "demo", "--fraction", "1", "--out", "out", "--data", "stopped"]
    process = warm.Popen(command, cwd=cxgi.folder, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
    journals = cxgi.folder / "stopped" / "journal"
    while sum(f.read_text().count('["event') for f in journals.glob("*.jsonl")) < 20:
        assert process.poll() is None
        time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == 130
    assert "interrupted: the shutter is closed" in errors
    uid = errors.split("cxgi reconstruct ")[1].split()[0]
    monkeypatch.chdir(cxgi.folder)
    assert main(["reconstruct", uid, "--data", "stopped", "--method", "tv", "--out", "a.png", "--json"]) == 0
    answer = json.loads(capsys.readouterr().out)
    assert 3 < answer["exposures"] < 4096


def test_help_and_version(cxgi):
    assert "reconstruct" in cxgi("--help").stdout
    assert cxgi("--version").stdout.startswith("cxgi ")


def test_a_run_is_shown_with_the_reason_of_its_end_and_the_scan_that_it_completes(tmp_path, capsys):
    patterns = {"size": 64, "count": 768, "chosen": list(range(64))}
    block = {"schema": 1, "purpose": "image", "resumes": "b1ce7276-8dc6", "pattern_set": patterns}
    run = compose_run(metadata={"cxgi": {**block, "board": {"id": "au64", "sha256": "0"}}})
    documents = [("start", run.start_doc), ("stop", run.compose_stop(exit_status="abort", reason="sample moved"))]
    writer_of(open_catalog(tmp_path, to_write=True)).write_runs([documents])
    assert main(["show", "--data", str(tmp_path), run.start_doc["uid"]]) == 0
    shown = capsys.readouterr().out
    assert ", abort: sample moved" in shown
    assert "768 patterns, the rest of b1ce7276" in shown
    assert "10, 11, ... (64 in all)" in shown


@pytest.mark.skipif(not REAL.exists(), reason="the measured files are not beside this checkout")
@pytest.mark.parametrize("name", ["1", "9", "65", "257"])
@pytest.mark.parametrize("method", ["tv", "ch-mwcnn"])
def test_real_measurements_at_18_75_percent(name, method, tmp_path, capsys):
    """Nearer to the file's own full inverse than the zero-filled inverse of the same 192 patterns."""
    file = REAL / f"car_boat_roi_{name}.csv"
    assert reconstruct(file, tmp_path / "full.npy", "--method", "inverse") == 0
    full = np.load(tmp_path / "full.npy")
    distance = {}
    for m in ("inverse", method):
        assert reconstruct(file, tmp_path / "part.npy", "--method", m, "--fraction", "0.1875") == 0
        distance[m] = psnr(affine_fit(np.load(tmp_path / "part.npy"), full), full)
    assert distance[method] > distance["inverse"] + 0.3
