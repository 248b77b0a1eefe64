from __future__ import annotations

import copy
from dataclasses import asdict

import pytest

from benchmarks.paper import boards, paper, training_seen
from benchmarks.paper.rows import REFERENCES
from benchmarks.suite.pnp_bm3d import NAME as PEER_NAME
from benchmarks.suite.pnp_bm3d import NOT_INSTALLED, PeerPictures
from cxgi_bluesky.reconstruction.api import reconstruct
from cxgi_bluesky.training.boards import BoardRanges

CARD = {"known": {"etched_masks": True}, "training": {"boards": {"ranges": asdict(BoardRanges())}}}


def peer(measurements, minutes):
    assert minutes > 0
    return PeerPictures(tuple(reconstruct(m, method="inverse").image for m in measurements), (1.0,) * len(measurements))


def test_an_etched_board_is_scanned_in_the_order_asked_for(monkeypatch):
    monkeypatch.setitem(paper.EXPOSURES, "cu32", 64)
    said: list[str] = []
    found = boards.measure_boards(1, peer, 1.0, {}, said.append, scans=(("cu32", ("CAS",), "zig-zag", 3.0),))
    ways = [(method, reference) for reference in REFERENCES for method in paper.METHODS]
    ways += [(PEER_NAME, reference) for reference in REFERENCES]
    assert [(row["method"], row["reference"]) for row in found["rows"]] == ways
    assert {(row["order"], row["exposure_s"]) for row in found["rows"]} == {("zig-zag", 3.0)}
    assert all(row["cnr_mean"] > 0.5 for row in found["rows"])
    cnr = {(row["method"], row["reference"]): row["cnr_mean"] for row in found["rows"]}
    for row in found["rows"]:
        ours = cnr["CH-MWCNN", row["reference"]]
        assert row["cnr_ratio"] == pytest.approx(ours / row["cnr_mean"])
    assert said == ["network: board cu32, zig-zag, 3 s, seed 0"]
    assert found["seen"] == training_seen.training_seen().sentence()


def test_a_peer_that_is_missing_has_no_row(monkeypatch):
    monkeypatch.setitem(paper.EXPOSURES, "cu32", 16)

    def missing(measurements, minutes):
        return PeerPictures((None,) * len(measurements), (None,) * len(measurements), NOT_INSTALLED)

    found = boards.measure_boards(1, missing, 1.0, {}, scans=(("cu32", ("gear",), "cake-cutting", 1.0),))
    assert {row["method"] for row in found["rows"]} == set(paper.METHODS)


def row(method, values, reference=False):
    words = {"object": "gold", "board": "au64", "order": "zig-zag", "exposure_s": 1.0, "reference": reference}
    return {**words, "method": method, "cnr_each": values}


def test_ratios_are_taken_on_the_boards_that_both_have():
    rows = [row("CH-MWCNN", [3.0, 1.0]), row("GI", [1.0, 1.0]), row(PEER_NAME, [1.5]), row("TVAL3", [-1.0, 0.5])]
    assert [r["cnr_ratio"] for r in boards.with_ratio(rows)] == [1.0, 2.0, 2.0, None]
    assert boards.with_ratio([row("GI", [1.0], True)])[0]["cnr_ratio"] is None


# ---------------------------------------------------------------- what the training has seen


def test_the_ranges_of_the_training_contain_the_boards_of_the_twin():
    seen = training_seen.seen_by(CARD)
    assert (seen.etched_boards, seen.contains_ours) == (True, True)
    assert "from ranges that contain those of the boards here" in seen.sentence()
    assert "objects of the figures were never" in seen.sentence()


@pytest.mark.parametrize("name", ["corner", "offset_rms", "d_r"])
def test_narrower_ranges_do_not(name):
    card = copy.deepcopy(CARD)
    card["training"]["boards"]["ranges"][name] = [10.0, 11.0]
    seen = training_seen.seen_by(card)
    assert (seen.etched_boards, seen.contains_ours) == (True, False)
    assert "ranges that contain" not in seen.sentence()


def test_images_that_the_package_does_not_draw_are_told():
    card = copy.deepcopy(CARD)
    card["training"]["objects"] = {"folder": "the user's own images"}
    sentence = training_seen.seen_by(card).sentence()
    assert "objects of the figures" not in sentence
    assert "somebody's own" in sentence


@pytest.mark.parametrize(
    ("card", "text"),
    [({"known": {"etched_masks": False}}, "perfect masks alone"), ({}, "do not say")],
)
def test_a_network_without_boards_in_its_training_is_said_to_be_one(card, text):
    assert text in training_seen.seen_by(card).sentence()
