"""The gold object's gap at several exposure times."""

from __future__ import annotations

import math

import numpy as np

from benchmarks import headline
from benchmarks.headline import WITH_GAP, Scan, Way, false_lines, scan, simulation, summary, table, ways_of
from benchmarks.paper.gold_gap import GapScore
from cxgi_bluesky.masks.pattern_set import PatternSet, coefficients
from cxgi_bluesky.measurement.measurement import Measurement


def score(segments, width=math.nan):
    return {"gap": GapScore(0.5, segments, width), "psnr_db": 20.0, "cnr": 4.0}


def test_a_scan_measures_the_coefficients_of_the_object_at_its_noise():
    line = simulation(WITH_GAP, 0, 1, perfect=True)
    measured = Measurement.from_exposures(scan(line, PatternSet(64, 64, "zig-zag"), 1000.0))
    assert measured.scale == "transmission"
    exact = coefficients(line.truth, measured.pattern_index)
    assert np.corrcoef(measured.coefficient[1:], exact[1:])[0, 1] > 0.99


def test_a_reference_has_the_object_out():
    patterns = PatternSet(64, 16, "zig-zag")
    levels = [
        scan(simulation(WITH_GAP, 0, 1, perfect=True), patterns, 1.0, reference=out).buckets().bucket.mean()
        for out in (False, True)
    ]
    assert levels[1] > 1.5 * levels[0]


def test_the_counts_are_of_scans_that_show_the_gap():
    made = summary([score(8, 1.2), score(6, 2.0), score(5), score(0)])
    assert (made["scans"], made["scans_shown"], made["scans_all_segments"]) == (4, 2, 1)
    assert (made["scans_width_within_30_percent"], made["width_px"]) == (1, 1.6)


def test_three_segments_without_a_gap_are_a_false_line():
    scanned, way = Scan("perfect", "zig-zag", 1.0, "gold:gap_um=0", 0), Way("tv", "tv", {})
    (row,) = false_lines([(scanned, way, score(segments)) for segments in (0, 2, 3, 8)])
    assert (row["scans"], row["false_lines"]) == (4, 2)


def test_rows_are_apart_by_masks_order_exposure_and_method():
    way = Way("tv", "tv", {})
    scans = [Scan("perfect", "zig-zag", s, WITH_GAP, seed) for s in (1.0, 3.0) for seed in (0, 1)]
    rows = table([(one, way, score(8, 1.0)) for one in scans])
    assert [(row["exposure_s"], row["scans"]) for row in rows] == [(1.0, 2), (3.0, 2)]


def test_each_file_of_weights_is_a_way_of_its_own():
    ways = ways_of(["ch-mwcnn", "tv"], ["a/one.safetensors", "two.safetensors"])
    assert [way.label for way in ways] == ["ch-mwcnn one", "ch-mwcnn two", "tv"]
    assert ways[0].options == {"weights": "a/one.safetensors"}
    assert [way.label for way in ways_of(headline.METHODS, [])] == list(headline.METHODS)
