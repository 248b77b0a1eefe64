from __future__ import annotations

import math

import numpy as np
import pytest

from benchmarks.paper import paper, rows
from benchmarks.paper.rows import REFERENCES, table_rows
from tests.benchmarks.paper.synthetic import score


def test_an_object_is_scanned_and_reconstructed_in_every_way(monkeypatch):
    monkeypatch.setitem(paper.EXPOSURES, "cu32", 128)  # the fewest that have a score
    monkeypatch.setattr(rows, "by_peer", lambda scanned: ([], {}))  # it may be installed here
    result = rows.measure_objects("cu32", ("CAS",), 0)["CAS"]
    ways = {(method, reference) for method in paper.METHODS for reference in REFERENCES}
    assert {(s.method, s.reference) for s in result.scores} == set(result.pictures) == ways
    assert len(result.scores) == len(ways)
    assert result.truth.shape == (32, 32)
    assert all(image.shape == (32, 32) and np.isfinite(image).all() for image in result.pictures.values())
    assert all(s.cnr > 1 and s.psnr_db > 5 and 0 < s.ssim < 1 and math.isnan(s.gap_um) for s in result.scores)
    assert all((s.supported is None) == (s.reference == "maps") for s in result.scores)
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


@pytest.mark.parametrize(
    ("gaps", "supported", "found"),
    [
        ([10.0, 12.0, 11.0], [True, True, True], 11.0),
        ([10.0, math.nan, 12.0], [True, True, True], 11.0),
        ([10.0, math.nan, math.nan], [True, True, True], None),  # most seeds show none
        ([10.0, math.nan], [True, True], None),
        ([10.0, 11.0, 90.0], [True, True, False], 10.5),  # an image that is not supported shows nothing
        ([10.0, 11.0, 12.0], [None, None, None], 11.0),
    ],
)
def test_the_gap_is_the_median_where_most_seeds_show_one(gaps, supported, found):
    scores = [score("gold", "TV/L2", gap_um=gap, supported=s) for gap, s in zip(gaps, supported, strict=True)]
    assert table_rows(scores)[0]["gap_um"] == found


@pytest.mark.parametrize(("supported", "share"), [([True, False], 0.5), ([True, None], 1.0), ([None, None], None)])
def test_the_share_of_the_seeds_that_are_supported(supported, share):
    assert table_rows([score("gold", "TV/L2", supported=s) for s in supported])[0]["supported"] == share
