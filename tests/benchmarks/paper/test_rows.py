from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.paper import paper, rows
from benchmarks.paper.gold_gap import GapScore
from benchmarks.paper.rows import REFERENCES, table_rows
from tests.benchmarks.paper.synthetic import score


def test_an_object_is_scanned_and_reconstructed_in_every_way(monkeypatch):
    monkeypatch.setitem(paper.EXPOSURES, "cu32", 128)  # the fewest that have a score
    monkeypatch.setattr(rows, "by_peer", lambda scanned: ([], {}))  # it may be installed here
    result = rows.measure_objects("cu32", ("CAS",), 0)["CAS"]
    ways = {(method, reference) for method in paper.METHODS for reference in REFERENCES}
    assert set(result.pictures) == ways
    ways.add((paper.TVAL3_AS_MEASURED, False))
    assert {(s.method, s.reference) for s in result.scores} == ways
    assert len(result.scores) == len(ways)
    assert result.truth.shape == (32, 32)
    assert all(image.shape == (32, 32) and np.isfinite(image).all() for image in result.pictures.values())
    assert all(s.cnr > 1 and s.psnr_db > 5 and 0 < s.ssim < 1 and s.gap is None for s in result.scores)
    unjudged = ("maps", paper.TVAL3_AS_MEASURED)
    assert all((s.supported is None) == (s.reference in unjudged or s.method in unjudged) for s in result.scores)
    measured, sigma = result.d_r
    assert measured == pytest.approx(paper.D_R["cu32"], abs=0.02)
    assert 0 < sigma < 0.01
    found = table_rows(result.scores)
    assert len(found) == len(ways)
    assert {row["paper_cnr"] for row in found if row["reference"] is False} == {1.49, 1.75, 2.43, None}


def test_mean_and_spread_over_the_seeds():
    (row,) = table_rows([score("CAS", "GI", cnr=cnr, psnr_db=cnr, ssim=cnr / 4) for cnr in (1.0, 2.0)])
    assert row["cnr_mean"] == row["psnr_db"] == 1.5
    assert row["cnr_std"] == pytest.approx(math.sqrt(0.5))
    assert row["ssim"] == 0.375
    assert (row["object"], row["board"], row["method"], row["reference"]) == ("CAS", "cu32", "GI", False)


def test_one_seed_has_no_spread():
    assert table_rows([score("CAS", "GI")])[0]["cnr_std"] is None


def test_groups_are_kept_apart_in_the_order_they_came():
    keys = [("CAS", "GI", False), ("CAS", "GI", True), ("CAS", "GI", "maps"), ("gear", "GI", False)]
    found = table_rows([score(*key) for key in keys] * 2)
    assert [(row["object"], row["method"], row["reference"]) for row in found] == keys


def test_the_paper_is_named_only_beside_what_it_did():
    found = table_rows([score("CAS", "GI"), score("CAS", "GI", True), score("CAS", "TV/L2"), score("gear:x=1", "GI")])
    assert [row["paper_cnr"] for row in found] == [1.49, None, None, None]


def test_exposure_times_are_kept_apart_and_the_papers_numbers_stand_beside_1_s():
    found = table_rows([score("gold", "TVAL3", exposure_s=s) for s in (1.0, 3.0, 3.0)])
    assert [(row["exposure_s"], row["paper_cnr"]) for row in found] == [(1.0, 0.27), (3.0, None)]


@pytest.mark.parametrize(
    ("widths", "found"),
    [
        ([1.0, 1.2, 1.1], 11.0),
        ([1.0, math.nan, 1.2], 11.0),
        ([1.0, math.nan, math.nan], None),  # most seeds show none
        ([1.0, math.nan], None),
    ],
)
def test_the_width_is_the_median_where_most_seeds_show_the_gap(widths, found):
    gaps = [GapScore(0.5, 4 if math.isnan(width) else 8, width) for width in widths]
    (row,) = table_rows([score("gold", "TV/L2", gap=gap) for gap in gaps])
    assert row["gap_um"] == (None if found is None else pytest.approx(found))


def test_brightness_and_segments_are_means_over_the_seeds():
    (row,) = table_rows([score("gold", "GI", gap=GapScore(0.2, 3, math.nan)), score("gold", "GI")])
    assert row["gap_brightness"] == pytest.approx((0.2 + 0.53) / 2)
    assert (row["gap_segments"], row["gap_um"]) == (5, None)


@pytest.mark.parametrize(("supported", "share"), [([True, False], 0.5), ([True, None], 1.0), ([None, None], None)])
def test_the_share_of_the_seeds_that_are_supported(supported, share):
    assert table_rows([score("gold", "TV/L2", supported=s) for s in supported])[0]["supported"] == share
