from __future__ import annotations

import numpy as np
import pytest

from benchmarks.suite import specs, workload
from benchmarks.suite.image_quality import quality
from benchmarks.suite.measured import measured, network_minus_tv
from benchmarks.suite.memory import peak_memory
from benchmarks.suite.report import run_bench
from benchmarks.suite.scores import gaussian_ssim, scale_to_truth, score
from benchmarks.suite.speed import speed
from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.masks.orders import ORDERS
from cxgi_bluesky.masks.transform import walsh_hadamard_2d
from cxgi_bluesky.reconstruction.registry import METHODS
from tests.conftest import smooth_image


def write_full_file(path, image: np.ndarray, rows: int | None = None) -> None:
    values = walsh_hadamard_2d(image).ravel()[:rows]
    path.write_text("pattern_index,bucket\n" + "".join(f"{k},{value:.12g}\n" for k, value in enumerate(values)))


# ---------------------------------------------------------------- what is compared


def test_every_method_and_order_is_compared_the_baseline_first():
    assert {spec.method for spec in specs.all_specs()} == set(METHODS)
    assert specs.all_specs()[0].name == specs.BASELINE
    assert specs.chosen_orders() == tuple(ORDERS)


def test_the_baseline_is_always_run_and_a_name_twice_is_one_row():
    assert [spec.name for spec in specs.chosen_specs(["tv", "tv"])] == ["inverse", "tv"]
    assert specs.chosen_orders(["zig-zag", "zig-zag"]) == ("zig-zag",)


@pytest.mark.parametrize("choose", [specs.chosen_specs, specs.chosen_orders])
def test_an_unknown_name_is_named_with_the_known_ones(choose):
    with pytest.raises(CxgiError, match=r"'magic' is unknown.*choose from"):
        choose(["magic"])


# ---------------------------------------------------------------- scores


def test_a_perfect_image_has_perfect_scores_and_is_cut():
    truth = workload.truths()["CAS"]
    assert score(3 * truth - 1, truth).psnr_db == np.inf
    assert gaussian_ssim(truth, truth) == pytest.approx(1)
    half = score(np.full_like(truth, 0.5), truth)
    assert half.psnr_db == pytest.approx(10 * np.log10(4))


def test_only_what_is_no_transmission_is_fitted():
    truth = workload.truths()["coins"]
    made = {
        name: specs.chosen_specs([name])[-1](
            workload.measure(truth, workload.pattern_set("zig-zag", 0), snr_db=30, seed=0)
        )
        for name in ("inverse", "correlation")
    }
    np.testing.assert_array_equal(scale_to_truth(made["inverse"], truth), made["inverse"].image)
    assert scale_to_truth(made["correlation"], truth).mean() == pytest.approx(truth.mean())


# ---------------------------------------------------------------- parts


def test_quality_gains_are_over_the_baseline_of_the_same_order_and_noise():
    result = quality(specs.chosen_specs(["correlation"]), ("zig-zag", "random"), seeds=1, snr_db=(30.0,))
    rows = result["rows"]
    assert [(row["order"], row["method"]) for row in rows] == [
        (order, method) for order in ("zig-zag", "random") for method in ("inverse", "correlation")
    ]
    for base, other in (rows[:2], rows[2:]):
        assert base["gain_db"] == 0
        assert other["gain_db"] == pytest.approx(other["psnr_db"] - base["psnr_db"])
        assert base["psnr_db"] == pytest.approx(np.mean(list(base["psnr_db_each"].values())))
    assert rows[0]["psnr_db"] == pytest.approx(20.9, abs=0.15)  # the docstring of the workload
    assert rows[0]["ssim"] == pytest.approx(0.705, abs=0.005)
    assert rows[0]["cas_cnr"] == pytest.approx(3.6, abs=0.05)


def test_what_a_method_cannot_do_is_left_out_with_its_reason():
    broken = specs.Spec("strange tv", "tv", {"weight": -1.0})
    result = quality([*specs.chosen_specs(["inverse"]), broken], ("zig-zag",), seeds=1, snr_db=(30.0,))
    assert [row["method"] for row in result["rows"]] == ["inverse"]
    assert result["left_out"][0]["method"] == "strange tv"
    assert "weight -1.0" in result["left_out"][0]["why"]


def test_measured_files_stand_beside_their_own_full_inverse(tmp_path):
    for name in ("a", "b"):
        write_full_file(tmp_path / f"{name}.csv", smooth_image(32, seed=ord(name)))
    result = measured(tmp_path, specs.chosen_specs(["tv"]), ("zig-zag", "random"), seeds=2)
    assert {row["file"] for row in result["rows"]} == {"a", "b"}
    means = {(row["order"], row["method"]): row for row in result["mean"]}
    zig_zag = [row["psnr_db"] for row in result["rows"] if (row["order"], row["method"]) == ("zig-zag", "inverse")]
    assert means["zig-zag", "inverse"]["psnr_db"] == pytest.approx(np.mean(zig_zag))
    assert means["zig-zag", "inverse"]["psnr_db"] > means["random", "inverse"]["psnr_db"]
    assert means["zig-zag", "inverse"]["gain_db"] == 0
    assert result["network_minus_tv"] == []  # the network was not asked for


def test_the_network_stands_beside_tv_for_every_measured_file():
    scores = {("a", "tv"): 20.0, ("a", "ch-mwcnn"): 21.0, ("b", "tv"): 22.0, ("b", "ch-mwcnn"): 21.9}
    rows = [{"order": "zig-zag", "file": f, "method": m, "psnr_db": value} for (f, m), value in scores.items()]
    (found,) = network_minus_tv(rows)
    assert found["each"] == pytest.approx({"a": 1.0, "b": -0.1})
    assert (found["order"], found["worst"], found["as_wanted"]) == ("zig-zag", "b", True)
    assert found["mean_db"] == pytest.approx(0.45)
    (found,) = network_minus_tv([*rows[:3], {**rows[3], "psnr_db": 21.7}])
    assert not found["as_wanted"]  # one file alone is enough
    (found,) = network_minus_tv([*rows[2:], {**rows[2], "file": "a"}, {**rows[3], "file": "a"}])
    assert not found["as_wanted"]  # so is the mean


@pytest.mark.parametrize("rows", [None, 100])
def test_a_folder_without_complete_files_is_called_so(tmp_path, rows):
    if rows:
        write_full_file(tmp_path / "short.csv", smooth_image(32), rows)
    with pytest.raises(CxgiError, match=r"100 of 1024 patterns" if rows else "holds no CSV file"):
        measured(tmp_path, specs.chosen_specs(["inverse"]), ("zig-zag",))


def test_speed_rows_have_a_named_baseline_of_the_same_run():
    result = speed(
        specs.chosen_specs(["ch-mwcnn"]),
        sizes=(512,),  # which the shipped weights do not know
        full_set_sizes=(64,),
        memory=False,
        budget_s=0.01,
    )
    for row in result["rows"]:
        assert row["ratio"] == pytest.approx(row["ms"] / row["baseline_ms"])
        assert row["min_ms"] <= row["ms"] <= row["max_ms"]
        assert row["baseline"]
    tasks = [row["task"] for row in result["rows"]]
    assert tasks == ["GI, full set", "inverse"]
    assert result["rows"][0]["target_ms"] == 0.1
    assert [row["task"] for row in result["left_out"]] == ["ch-mwcnn"]


def test_memory_is_measured_in_a_process_of_its_own():
    large = peak_memory("correlation", 512, 512**2)
    assert 2 < large["growth_mb"] < 100  # a handful of arrays of 2 MB
    assert large["growth_mb"] < large["peak_mb"]
    with pytest.raises(CxgiError, match=r"memory of magic at size 64 could not be measured: .*'magic' is unknown"):
        peak_memory("magic", 64, 4096)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ({"parts": ["quality"], "seeds": 0}, "0 seeds"),
        ({"parts": ["quality"], "methods": ["magic"]}, "method 'magic' is unknown"),
        ({"parts": ["quality"], "orders": ["magic"]}, "order 'magic' is unknown"),
        ({"parts": ["measured"]}, "give --measured FOLDER"),
        ({"parts": ["measured"], "folder": "nowhere"}, "folder nowhere does not exist"),
    ],
)
def test_what_cannot_be_run_is_said_before_anything_runs(words, message):
    with pytest.raises(CxgiError, match=message):
        run_bench(**words)


def test_every_variant_takes_its_options_and_has_a_name_of_its_own():
    patterns = workload.pattern_set("zig-zag", 0)
    measurement = workload.measure(workload.truths()["CAS"], patterns, snr_db=30.0, seed=0)
    for spec in specs.VARIANTS:
        assert spec(measurement).image.shape == (64, 64)
    names = [spec.name for spec in specs.all_specs()]
    assert len(set(names)) == len(names)
