from __future__ import annotations

import json
import re

import pytest

from benchmarks.paper import curves, paper, report, run
from benchmarks.suite.pnp_bm3d import NAME as PEER_NAME
from tests.benchmarks.paper import synthetic

CURVE_KEYS = {"exposures", "cnr_mean", "cnr_std"}
CURVES = {"cu_board", "perfect_board", "sandpaper", "defects_only", "noise_only", "insensitive_detector"}
ROW_KEYS = {
    *("object", "board", "method", "reference", "cnr_mean", "cnr_std", "cnr_each"),
    *("psnr_db", "ssim", "gap_brightness", "gap_segments", "gap_um", "exposure_s", "paper_cnr", "supported"),
}


@pytest.fixture(scope="module")
def numbers():
    return synthetic.numbers(synthetic.results(3), 3)


@pytest.fixture(scope="module")
def page(numbers):
    return report.page(numbers, run.FIGURES)


def tables(text: str) -> list[list[list[str]]]:
    """Cells of each table, its head first."""
    blocks = re.findall(r"(?:^\|.*\|$\n?)+", text, flags=re.MULTILINE)
    return [[[cell.strip() for cell in line[1:-1].split("|")] for line in b.strip().splitlines()] for b in blocks]


def table_with(page: str, *names: str) -> list[dict[str, str]]:
    (found,) = [table for table in tables(page) if set(names) <= set(table[0])]
    return [dict(zip(found[0], row, strict=True)) for row in found[2:]]


def test_the_json_has_the_keys_that_others_read(numbers, tmp_path):
    report.write(tmp_path, numbers, run.FIGURES)
    read = json.loads((tmp_path / report.TABLE).read_text(encoding="utf-8"))
    assert read == numbers
    assert set(read) == {"seeds", "minutes", "network_training", *run.FIGURES}
    assert set(read["fig2"]) == {"curves", "peak_exposures", "sandpaper_over_hadamard"}
    assert set(read["fig2"]["curves"]) == CURVES
    for name, curve in read["fig2"]["curves"].items():
        assert set(curve) == CURVE_KEYS
        expected = curves.SANDPAPER_EXPOSURES if name == "sandpaper" else curves.EXPOSURES
        assert curve["exposures"] == list(expected)
        assert len(curve["cnr_mean"]) == len(curve["cnr_std"]) == len(expected)
    for figure, count in (("fig3", 15 * len(run.COPPER_OBJECTS) + 2), ("fig4", 15 * len(paper.GOLD_EXPOSURES_S))):
        assert len(read[figure]["rows"]) == count
        assert all(set(row) == ROW_KEYS for row in read[figure]["rows"])
        assert {row["reference"] for row in read[figure]["rows"]} == {False, True, "maps"}
        assert read[figure]["d_r"]["measured"] == pytest.approx([0.8, 0.81, 0.82])
    assert set(read["fig4"]["resolution"]) == {"knife_edge", "edges", "field_um"}


def test_the_page_is_written_whole(numbers, page, tmp_path):
    assert report.write(tmp_path, numbers, run.FIGURES) == page
    assert (tmp_path / report.PAGE).read_text(encoding="utf-8") == page
    assert "$" not in page
    assert "None" not in page
    assert "nan" not in page.replace("resonan", "")
    for figure in run.FIGURES:
        assert f"(reproduction/{figure}.png)" in page


def test_every_table_is_one(page):
    found = tables(page)
    assert len(found) == 6
    for head, rule, *rows in found:
        assert set(rule) == {"---"}
        assert rows
        assert all(len(row) == len(head) == len(rule) for row in rows)
        assert all(cell for row in rows for cell in row)


def test_the_curves_stand_in_their_table(numbers, page):
    rows = table_with(page, "exposures", "Cu board")
    assert [int(row["exposures"]) for row in rows] == list(curves.EXPOSURES)
    curve = numbers["fig2"]["curves"]["cu_board"]
    expected = [f"{m:.2f} ± {s:.2f}" for m, s in zip(curve["cnr_mean"], curve["cnr_std"], strict=True)]
    assert [row["Cu board"] for row in rows] == expected
    assert numbers["fig2"]["peak_exposures"]["cu_board"] == 300
    assert numbers["fig2"]["peak_exposures"]["perfect_board"] == 1024


def test_the_rows_stand_in_their_tables(page):
    found = {(r["exposure s"], r["method"], r["reference"]): r for r in table_with(page, "width um", "paper")}
    assert len(found) == 3 * 15
    gold = found["1", "TVAL3", "none"]
    assert (gold["CNR"], gold["paper"], gold["PSNR dB"]) == ("0.32 ± 0.02", "0.27", "12.3")
    assert (gold["SSIM"], gold["supported"]) == ("0.57", "100%")
    assert (gold["gap: brightness"], gold["segments of 8"], gold["width um"]) == ("0.53", "7.0", "11")
    assert found["3", "TVAL3", "none"]["paper"] == found["1", "TV/L2", "measured masks"]["paper"] == report.NOTHING
    assert found["1", "TV/L2", "measured masks"]["supported"] == report.NOTHING


def test_it_says_where_the_order_of_the_methods_is_not_the_papers(page):
    lines = {line.split(":")[0]: line for line in page.splitlines() if line.startswith("- ") and " < " in line}
    assert lines["- CAS"].endswith("the paper's order.")
    assert "**The paper's order differs:** TVAL3 0.50 < GI 0.60 < CH-MWCNN 1.56." in lines["- gear"]
    assert "CH-MWCNN 0.22 < TVAL3 0.32" in lines["- gold"]
    assert "The best of ours is TV/L2 (2.92), not the network." in lines["- gold"]


def test_the_step_that_decides_the_gears_order_is_named(page):
    assert (
        "it is below GI for the gear (0.47 against\n0.62; paper 0.50, 0.60), but for CAS too (0.47 against 1.52;"
        in page
    )


def test_gains_are_the_quotients(page):
    assert "- CAS, GI: 1.52, with a reference scan 2.27 (1.5 times), with measured masks 3.02 (2.0 times)" in page


def test_it_says_who_shows_the_gap_and_who_misses_it():
    numbers = synthetic.numbers(synthetic.results(1), 1, ("fig4",))
    for row in numbers["fig4"]["rows"]:
        row["gap_segments"], row["gap_um"] = (2.0, None) if row["method"] == "GI" else (8.0, 22.0)
    text = report.page(numbers, ("fig4",))
    others = "TVAL3, TV/L2, TV/L2 + edges, CH-MWCNN"
    assert f"- 3 s, reference none: {others}; reference scan: {others}; measured masks: {others}." in text
    assert "- Nobody has its width to 30%; the nearest is 22 um by TVAL3 (none, 1 s)." in text
    numbers["fig4"]["rows"][-1]["gap_um"] = 12.0
    assert "- Within 30% of the true width: CH-MWCNN (measured masks, 10 s)." in report.page(numbers, ("fig4",))
    for row in numbers["fig4"]["rows"]:
        row["gap_segments"], row["gap_um"] = 0.0, None
    text = report.page(numbers, ("fig4",))
    assert "- 1 s, reference none: nobody; reference scan: nobody; measured masks: nobody.\n" in text
    assert "- Nobody has its width to 30%.\n" in text


def test_one_figure_of_one_seed():
    numbers = synthetic.numbers(synthetic.results(1), 1, ("fig3",))
    assert set(numbers) == {"seeds", "minutes", "network_training", "fig3"}
    text = report.page(numbers, ("fig3",))
    assert "fig2.png" not in text
    assert "±" not in "".join(cell for table in tables(text) for row in table for cell in row)
    assert {row["CNR"] for row in table_with(text, "SSIM") if row["object"] == "CAS"} >= {"1.50", "2.25", "3.00"}


def test_the_page_says_what_the_network_has_seen(numbers, page):
    assert "never in its training" in numbers["network_training"]
    assert page.count(numbers["network_training"]) == 3  # above, and beside both tables


def test_a_peer_has_rows_where_it_is_installed(page):
    assert f"{PEER_NAME}: not installed (make .venv-peers/.installed)." in page
    found = synthetic.results(2)
    for seed in (0, 1):
        found |= synthetic.gold_scans(seed, PEER_NAME)
    numbers = synthetic.numbers(found, 2, ("fig4",))
    text = report.page(numbers, ("fig4",))
    assert "not installed" not in text
    assert f"*{PEER_NAME}* runs in an environment of its own" in text
    rows = [row for row in table_with(text, "width um", "paper") if row["method"] == PEER_NAME]
    assert [row["CNR"] for row in rows] == ["4.01 ± 0.01"] * 9
    assert "The best of ours is TV/L2 (2.91), not the network." in text  # a peer is none of ours
    assert [row["cnr_each"] for row in numbers["fig4"]["rows"] if row["method"] == PEER_NAME] == [[4.0, 4.02]] * 9


@pytest.mark.parametrize(
    ("ratios", "text"),
    [
        ([8.0, 12.0], "8 to 12 times"),
        ([8.0, None], "8 to 8 times (and does not reach the CNR of 1.00 within 10000)"),
        ([None, None], "far more than 10000"),
    ],
)
def test_what_sandpaper_takes(ratios, text):
    numbers = synthetic.numbers(synthetic.results(1), 1, ("fig2",))
    rows = [
        {"cnr": cnr, "hadamard": 1.0, "sandpaper": 1.0, "ratio": r} for cnr, r in zip((0.5, 1.0), ratios, strict=True)
    ]
    numbers["fig2"]["sandpaper_over_hadamard"] = rows
    assert f"sandpaper takes {text} the exposures" in report.page(numbers, ("fig2",))
