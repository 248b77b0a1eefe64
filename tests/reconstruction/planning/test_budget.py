"""The planner: budgets split into patterns and seconds, on the shipped table."""

from __future__ import annotations

import inspect
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cxgi_bluesky import session
from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.masks.board import load_board
from cxgi_bluesky.plans import mask_scan
from cxgi_bluesky.reconstruction.planning import budget, plan_measurement
from cxgi_bluesky.reconstruction.planning.budget import MASK_KNOWLEDGE, Budget, open_exposures
from cxgi_bluesky.reconstruction.planning.table import planning_table, table_facts, table_sizes
from cxgi_bluesky.simulation.base import Detector
from tests.conftest import small_board

LIGHT = {"current_pa": 5.0, "detector": Detector()}
TABLES = [(size, masks) for masks in ("perfect", "none", "reference") for size in table_sizes(masks)]


def plan(board="au64", **options):
    return plan_measurement(board, **{**LIGHT, **({} if "open_s" in options else {"time_s": 1200.0}), **options})


# ---------------------------------------------------------------- the choice


@settings(max_examples=25, deadline=None)
@given(st.floats(60, 1e5), st.floats(1, 100), st.sampled_from(["perfect", "none", "reference"]), st.booleans())
def test_more_time_never_lowers_what_to_expect(seconds, factor, masks, is_open):
    kind = "open_s" if is_open else "time_s"
    less, more = (
        plan_measurement("au64", current_pa=20.0, detector=Detector(), masks=masks, **{kind: each})
        for each in (seconds, seconds * factor)
    )
    assert more.best.expected.psnr_db >= less.best.expected.psnr_db - 1e-9


def test_the_best_has_the_highest_psnr_of_all_that_are_offered():
    made = plan(line_um=10.0)
    assert made.best.expected.psnr_db == max(scan.expected.psnr_db for scan in made.scans)
    assert made.best in made.alternatives()
    assert set(made.alternatives()) <= set(made.scans)


def test_every_order_and_several_counts_are_alternatives():
    made = plan()
    assert {s.patterns.order for s in made.alternatives()} == set(planning_table(64, "perfect").orders)
    assert len({s.patterns.count for s in made.alternatives()}) >= 4
    assert {s.strategy for s in made.scans} == {"fixed"}


def test_a_long_budget_asks_for_more_patterns_than_a_short_one():
    short, long = (plan(time_s=seconds).best.patterns.count for seconds in (300.0, 72_000.0))
    assert short < 256 < long


def test_few_patterns_beat_many_on_a_budget_of_768_s():
    made = plan(current_pa=15.0, open_s=768.0)
    usual = next(s for s in made.scans if (s.patterns.count, s.patterns.order) == (768, "zig-zag"))
    assert made.best.patterns.count < 768
    assert made.best.expected.psnr_db > usual.expected.psnr_db


def test_a_budget_is_kept_and_spent():
    for kind in ("time_s", "open_s"):
        for scan in plan(**{kind: 1200.0}).scans:
            assert 0.98 * 1200 < getattr(scan, kind) <= 1200 * (1 + 1e-9)


def test_noise_falls_with_light_and_contrast():
    base = plan().best
    for better in ({"current_pa": 10.0}, {"detector": Detector(electrometer_fa=1.0)}):
        assert plan(**better).best.expected.psnr_db > base.expected.psnr_db
    assert plan(contrast=0.5).best.expected.psnr_db < base.expected.psnr_db


def test_the_noise_is_that_of_a_simulated_coefficient():
    board, detector = load_board("au64"), Detector()
    scan = plan(board).best
    bucket_pa = 5.0 * (1 + board.t0) / 2 * 0.5
    sigma = np.sqrt(detector.variance_pa2(bucket_pa, scan.exposure_s)) * 2 / board.d_r / 5.0
    assert scan.noise_db == pytest.approx(-20 * np.log10(sigma))


def test_exposures_beside_the_patterns_are_those_of_the_plan():
    defaults = {name: p.default for name, p in inspect.signature(mask_scan).parameters.items()}
    for name in ("open_exposures", "open_every", "incident_exposures", "dark_exposures"):
        assert getattr(budget, name.upper()) == defaults[name]
    assert open_exposures(768) == 4 + 4 + 11 + 1


@given(st.floats(1e-3, 1e6), st.integers(96, 4096))
def test_exposure_times_have_three_digits_and_fit(seconds, count):
    allowed = Budget(seconds, True, 0.0)
    exposure_s = allowed.exposure_s(count)
    assert exposure_s == float(f"{exposure_s:.3g}")
    assert 0.989 * seconds < allowed.of_scan(count, exposure_s) <= seconds * (1 + 1e-9)


# ---------------------------------------------------------------- lines


def test_a_wider_line_is_as_likely_or_more():
    chances = [plan(line_um=um).best.expected.line for um in (10.0, 15.0, 20.0, 30.0)]
    assert chances == sorted(chances)
    assert plan().best.expected.line is None


def test_a_scan_for_the_line_is_named_where_it_is_clearly_better():
    made = plan(line_um=10.0, current_pa=15.0, open_s=768.0)
    assert made.for_line is not None
    assert made.for_line.expected.line >= made.best.expected.line + 0.1
    assert made.for_line in made.alternatives()
    assert plan().for_line is None


# ---------------------------------------------------------------- the call


@pytest.fixture(scope="module")
def s(tmp_path_factory):
    return session.start(sim=True, data=tmp_path_factory.mktemp("data"), board="cu32", live=False, progress=False)


@pytest.mark.parametrize("masks", ["perfect", "reference"])
def test_a_session_runs_the_call(s, masks):
    made = plan_measurement("cu32", current_pa=60.0, detector=Detector(), open_s=20.0, masks=masks)
    scan = made.best
    exec(made.call(scan), {"s": s})
    start = s.catalog[-1].metadata["start"]
    assert start["cxgi"]["pattern_set"] == scan.patterns.to_dict()
    assert start["cxgi"]["exposure_s"] == scan.exposure_s
    assert (start["cxgi"].get("reference_uid") is not None) == (masks == "reference")
    assert s.catalog[-1].metadata["stop"].get("reason", "") == ""  # the budget has sufficed


def test_every_alternative_is_a_plan(s):
    made = plan_measurement("cu32", current_pa=60.0, detector=Detector(), time_s=60.0)
    for scan in made.alternatives():
        text = made.call(scan).removeprefix("s.RE(").removesuffix(")")
        assert next(iter(eval(text, {"s": s}))) is not None


# ---------------------------------------------------------------- what cannot be planned


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"time_s": 1.0}, "budget 1 s is too short .* 96 patterns of .* takes .* s in all"),
        ({"open_s": 0.5}, "with the shutter open"),
        ({"time_s": None}, "either time_s or open_s"),
        ({"time_s": 10.0, "open_s": 10.0}, "either time_s or open_s"),
        ({"time_s": float("nan")}, "budget nan s"),
        ({"time_s": -3.0}, "budget -3 s"),
        ({"overhead_s": -1.0}, "overhead -1 s"),
        ({"current_pa": 0.0}, "current 0 pA"),
        ({"transmission": 0.0}, "transmission 0"),
        ({"contrast": 1.5}, "contrast 1.5"),
        ({"line_um": 5.0}, "5 um is finer than a pixel .* can resolve 10 um"),
        ({"line_um": 0.0}, "line of 0 um"),
        ({"masks": "etched"}, "masks 'etched' are unknown"),
    ],
)
def test_bad_input_gets_one_clear_error(options, words):
    with pytest.raises(CxgiError, match=words):
        plan(**{"time_s": 1200.0, **options} if "open_s" not in options or "time_s" in options else options)


def test_the_smallest_budget_that_is_named_suffices():
    with pytest.raises(CxgiError, match="too short") as caught:
        plan(time_s=1.0)
    needed = float(str(caught.value).split("takes ")[1].split(" s")[0])
    assert plan(time_s=needed).scans
    with pytest.raises(CxgiError, match="too short"):
        plan(time_s=0.9 * needed)


def test_sizes_that_the_table_does_not_know_are_refused():
    with pytest.raises(CxgiError, match=r"128 x 128 pixels.*knows masks 'none' of 32, 64"):
        plan(small_board(128), masks="none")
    with pytest.raises(CxgiError, match=r"16 x 16 pixels.*32, 64, 128"):
        plan(small_board(16))


def test_a_board_with_few_tiles_offers_only_what_it_carries():
    board = load_board("au64")
    few = replace(board, pattern_index=board.pattern_index[:300])
    made = plan(few)
    assert {s.patterns.order for s in made.scans} == {"zig-zag"}
    assert max(s.patterns.count for s in made.scans) <= 300


def test_notes_say_where_the_table_ends():
    assert any("less noise" in note for note in plan(current_pa=1e5).notes)
    assert any("3.5 pixels" in note for note in plan(line_um=35.0).notes)
    assert any("reference scan takes as long again" in note for note in plan(masks="reference").notes)
    assert plan(masks="maps").best.expected == plan(masks="perfect").best.expected


def test_a_note_tells_when_the_table_is_of_other_weights(tmp_path, monkeypatch):
    card = tmp_path / "card.json"
    card.write_text('{"sha256": "0"}')
    monkeypatch.setattr(budget, "SHIPPED_CARD", card)
    assert any("other weights" in note for note in plan().notes)


# ---------------------------------------------------------------- the table


@pytest.mark.parametrize(("size", "masks"), TABLES)
def test_the_table_rises_with_less_noise_and_is_plausible(size, masks):
    table = planning_table(size, masks)
    values = np.stack(list(table.values.values()))
    assert (np.diff(values, axis=2) >= 0).all()
    assert ((values[..., 1] < values[..., 0]) & (values[..., 0] < values[..., 2])).all()
    assert ((values[..., 0] > 5) & (values[..., 0] < 45)).all()
    assert ((values[..., 3:] >= 0) & (values[..., 3:] <= 1)).all()
    assert max(table.counts) <= size**2


def test_masks_that_are_not_known_cost_image_quality():
    rows = {
        masks: planning_table(64, masks).expect("zig-zag", 768, 54.0).psnr_db
        for masks in MASK_KNOWLEDGE
        if masks != "maps"
    }
    assert rows["none"] < rows["reference"] < rows["perfect"]


def test_interpolation_meets_the_rows_and_stays_between_them():
    table = planning_table(64, "perfect")
    at, rows = table.noise_db, table.values["zig-zag"][3, :, 0]
    expected = [table.expect("zig-zag", table.counts[3], noise).psnr_db for noise in at]
    np.testing.assert_allclose(expected, rows)
    middle = table.expect("zig-zag", table.counts[3], (at[2] + at[3]) / 2).psnr_db
    assert rows[2] <= middle <= rows[3]
    assert table.expect("zig-zag", table.counts[3], 200.0).psnr_db == rows[-1]


def test_the_table_says_how_it_was_made():
    assert {"made_by", "seed", "board_seed", "weights_sha256", "scans"} <= set(table_facts())
