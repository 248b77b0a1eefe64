from __future__ import annotations

import numpy as np
import pytest

from benchmarks.suite import network_cases, specs, trust
from benchmarks.suite.comparison import METHODS, NETWORK, RIVAL, Case, cells, difference, method_rows, peer_rows
from benchmarks.suite.network import network
from benchmarks.suite.network_speed import network_speed
from benchmarks.suite.network_tables import network_tables
from benchmarks.suite.pnp_bm3d import NAME as PEER_NAME
from benchmarks.suite.pnp_bm3d import NOT_INSTALLED, PeerPictures
from cxgi_bluesky.cli._options import plain
from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.reconstruction.api import reconstruct
from cxgi_bluesky.simulation.random_objects import FAMILIES
from cxgi_bluesky.training.config import TrainingConfig

COMPARED = specs.chosen_specs(METHODS)[1:]


def missing_peer(measurements, minutes):
    nothing = (None,) * len(measurements)
    return PeerPictures(nothing, nothing, NOT_INSTALLED)


def hasty_peer(count):
    """Comes to so many images in its time: those of tv."""

    def peer(measurements, minutes):
        made = [reconstruct(m, method="tv").image if i < count else None for i, m in enumerate(measurements)]
        return PeerPictures(tuple(made), tuple(None if m is None else 7.0 for m in made), None, "stand-in 1.0: fast")

    return peer


def row(method, image, seed, psnr_db, **words):
    return {
        "order": "zig-zag",
        "image": image,
        "seed": seed,
        "method": method,
        "psnr_db": psnr_db,
        "ssim": 0.5,
        "cnr": psnr_db / 10,
        "ms": 1.0,
        **words,
    }


@pytest.fixture(scope="module")
def few_cases():
    """Camera and CAS, two seeds."""
    made = network_cases.anchor_cases(("zig-zag",), 2)
    usual = (0.1875, 30.0)
    return [
        c for c in made if (c.words["fraction"], c.words["snr_db"]) == usual and c.words["image"] in ("camera", "CAS")
    ]


# ---------------------------------------------------------------- cells


def test_a_cell_has_means_and_differences_by_object():
    rows = [row(RIVAL, image, seed, 20.0 + seed) for image in ("a", "CAS") for seed in (0, 1)]
    rows += [row(NETWORK, "a", seed, 22.0 + seed) for seed in (0, 1)] + [row(NETWORK, "CAS", s, 19.0) for s in (0, 1)]
    (cell,) = cells(rows, ("order",))
    assert cell["order"] == "zig-zag"
    assert cell["methods"][RIVAL] == {"psnr_db": 20.5, "ssim": 0.5, "cas_cnr": 2.05, "ms": 1.0, "seeds": 2}
    minus = cell["network_minus"][RIVAL]
    assert minus == {"each": {"a": 2.0, "CAS": -1.5}, "mean_db": 0.25, "worst": "CAS", "worst_db": -1.5}


def test_differences_are_taken_on_the_cases_that_both_have():
    ours = [row(NETWORK, "a", 0, 30.0), row(NETWORK, "a", 1, 10.0)]
    assert difference(ours, [row(PEER_NAME, "a", 0, 29.0)])["mean_db"] == 1.0


def test_a_seed_that_is_not_whole_does_not_count():
    rows = [row(m, image, seed, 20.0) for m in (RIVAL, NETWORK) for image in ("a", "b") for seed in (0, 1)]
    rows += [row(PEER_NAME, image, seed, 25.0) for image, seed in (("a", 0), ("b", 0), ("a", 1))]
    (cell,) = cells(rows, ("order",))
    assert cell["methods"][PEER_NAME]["seeds"] == 1
    assert cell["network_minus"][PEER_NAME]["mean_db"] == -5.0
    (cell,) = cells(rows[:-2], ("order",))  # not even the first
    assert PEER_NAME not in cell["methods"]
    assert PEER_NAME not in cell["network_minus"]


def test_the_peer_begins_with_the_first_seed(few_cases):
    rows = peer_rows(few_cases, hasty_peer(2), 1.0)
    assert [(r["seed"], r["image"]) for r in rows] == [(0, "camera"), (0, "CAS")]
    ours, left_out = method_rows([c for c in few_cases if c.words["seed"] == 0], specs.chosen_specs([RIVAL])[1:])
    assert not left_out
    assert [r["psnr_db"] for r in rows] == pytest.approx([r["psnr_db"] for r in ours])


def test_what_a_method_cannot_do_is_told_once(few_cases):
    broken = specs.Spec("strange", "tv", {"weight": -1.0})
    rows, left_out = method_rows(few_cases, [broken])
    assert rows == []
    assert [r["method"] for r in left_out] == ["strange"]
    assert "weight -1.0" in left_out[0]["why"]


# ---------------------------------------------------------------- what it is compared on


def test_every_family_and_the_unseen_objects_are_there_and_no_object_twice():
    cases = list(network_cases.class_cases(2, FAMILIES, per_seed=2))
    assert {c.words["class"] for c in cases if c.words["seen"]} == set(FAMILIES)
    unseen = {c.words["class"] for c in cases if not c.words["seen"]}
    assert unseen == {*network_cases.UNSEEN, "camera", "astronaut", "coins", "shepp_logan"}
    drawn = [c.truth.tobytes() for c in cases if c.words["seen"]]
    assert len(drawn) == len(set(drawn)) == 2 * 2 * len(FAMILIES)
    assert all(c.truth.shape == (64, 64) and c.truth.min() >= 0 and c.truth.max() <= 1 for c in cases)


def test_no_training_draws_with_the_seeds_of_these_objects():
    config = TrainingConfig()
    assert network_cases._OBJECT_SEED not in (config.seed, config.boards.seed)


def test_the_usual_fraction_comes_first_and_the_noisy_one_is_there():
    cases = list(network_cases.anchor_cases(("zig-zag",), 1))
    levels = list(dict.fromkeys((c.words["fraction"], c.words["snr_db"]) for c in cases))
    assert levels[0] == (0.1875, 30.0)
    assert set(levels) == {(0.03, 30.0), (0.0625, 30.0), (0.1875, 30.0), (0.5, 30.0), (0.1875, 20.0)}
    assert len(cases) == 5 * len(levels)
    assert all(len(c.measurement) == round(c.words["fraction"] * 4096) for c in cases)


def test_another_size_has_the_same_objects():
    cases = list(network_cases.size_cases(32, 1))
    assert [c.words["image"] for c in cases] == ["camera", "astronaut", "coins", "shepp_logan", "CAS"]
    assert {c.truth.shape for c in cases} == {(32, 32)}
    assert set(np.unique(cases[-1].truth)) == {0.0, 1.0}


# ---------------------------------------------------------------- trust and speed


def test_shuffled_buckets_are_never_supported(few_cases):
    case = few_cases[0]
    wrong = trust.shuffled(case.measurement, 0)
    assert wrong.coefficient[wrong.pattern_index == 0] == case.measurement.coefficient[wrong.pattern_index == 0]
    np.testing.assert_array_equal(np.sort(wrong.coefficient), np.sort(case.measurement.coefficient))
    assert (wrong.coefficient != case.measurement.coefficient).mean() > 0.9
    (found,) = trust.verdicts(few_cases[:2], specs.chosen_specs([NETWORK])[1:])
    assert found == {"method": NETWORK, "cases": 2, "real": 1.0, "shuffled": 0.0}


def test_times_stand_beside_those_of_tv():
    rows, left_out = network_speed(COMPARED[1:], size=32, in_processes=False, budget_s=0.01)
    found = {r["method"]: r for r in rows}
    assert set(found) == {"tval3", RIVAL, NETWORK}
    assert not left_out
    assert found[RIVAL]["ratio"] == 1
    assert found[NETWORK]["ratio"] == pytest.approx(found[NETWORK]["ms"] / found[RIVAL]["ms"])
    assert found["tval3"]["sized_ms"] is None
    assert found[NETWORK]["sized_ms"] > 0


# ---------------------------------------------------------------- the whole part


@pytest.fixture(scope="module")
def results():
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(network_cases, "FRACTIONS", (0.1875,))
        patch.setattr(network_cases, "SIZES", (32,))
        tables = ("anchor", "sizes", "boards", "trust")
        return network(COMPARED, seeds=1, orders=("zig-zag",), tables=tables, boards=boards, peer=missing_peer)


def boards(seeds, peer, minutes, options, note):
    words = {"object": "CAS", "board": "cu32", "order": "cake-cutting", "reference": "maps", "method": "CH-MWCNN"}
    numbers = {"cnr_mean": 2.5, "cnr_std": None, "psnr_db": 20.0, "ssim": 0.7, "cnr_ratio": 1.0}
    numbers |= {"exposure_s": 1.0, "gap_brightness": 0.5, "gap_segments": 8.0, "gap_um": None}
    return {"rows": [{**words, **numbers}], "boards": seeds, "seen": "It has seen nothing."}


def test_all_methods_stand_in_every_cell(results):
    for cell in results["anchor"]["rows"]:
        assert set(cell["methods"]) == set(METHODS)
        assert set(cell["network_minus"]) == set(METHODS) - {NETWORK}
        assert len(cell["network_minus"][RIVAL]["each"]) == 5
    assert [cell["snr_db"] for cell in results["anchor"]["rows"]] == [30.0, 20.0]
    assert [cell["size"] for cell in results["sizes"]["rows"]] == [32]
    assert results["peer"] == {
        "name": PEER_NAME,
        "settings": None,
        "why": NOT_INSTALLED,
        "pictures": 0,
        "asked_for": 10,
    }


def test_the_tables_say_what_is_not_installed(results):
    text = network_tables(plain(results))
    assert f"{PEER_NAME}: {NOT_INSTALLED}." in text
    cell = results["anchor"]["rows"][0]
    tv = cell["methods"][RIVAL]
    assert f"{tv['psnr_db']:.2f} / {tv['ssim']:.3f} / {tv['cas_cnr']:.1f}" in text
    assert f"| {cell['network_minus'][RIVAL]['mean_db']:+.2f} |" in text
    assert (
        "| CAS | cake-cutting | 1 | measured masks | CH-MWCNN | 2.50 | 20.00 | 0.700 | 0.50 | 8.0 | - | 1.00 |" in text
    )
    assert "It has seen nothing." in text
    for block in text.split("\n\n"):
        widths = {line.count("|") for line in block.splitlines() if line.startswith("|")}
        assert len(widths) <= 1
    assert "nan" not in text
    assert "None" not in text


def test_a_loss_that_is_not_wanted_is_bold(results):
    worse = plain(results)
    worse["anchor"]["rows"][0]["network_minus"][RIVAL] |= {"worst": "coins", "worst_db": -0.31}
    assert "**-0.31**" in network_tables(worse)
    worse["anchor"]["rows"][0]["network_minus"][RIVAL]["worst_db"] = -0.29
    assert "**" not in network_tables(worse)


def test_how_far_the_peer_came_is_told(few_cases):
    rows, _ = method_rows(few_cases, COMPARED)
    rows += peer_rows(few_cases, hasty_peer(2), 1.0)
    part = {
        "network": NETWORK,
        "rival": RIVAL,
        "methods": list(METHODS),
        "seeds": 2,
        "wanted": {"worst_db": -0.3},
        "anchor": {"rows": cells(rows, ("order", "fraction", "snr_db"))},
        "peer": {"name": PEER_NAME, "settings": "stand-in 1.0: fast", "why": None, "pictures": 2, "asked_for": 4},
    }
    text = network_tables(plain(part))
    assert "(stand-in 1.0: fast) made 2 of 4 images" in text
    assert " (1) |" in text


@pytest.mark.parametrize(
    ("words", "named"),
    [({"tables": ["magic"]}, "table 'magic' is unknown.*anchor"), ({"peer_minutes": 0.0}, "0 minutes for PnP-BM3D")],
)
def test_what_cannot_be_made_is_said_before_anything_runs(words, named):
    with pytest.raises(CxgiError, match=named):
        network(COMPARED, **words)


def test_a_case_keeps_what_it_is_of(few_cases):
    assert isinstance(few_cases[0], Case)
    assert set(few_cases[0].words) == {"order", "fraction", "snr_db", "image", "seed"}
