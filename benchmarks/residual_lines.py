"""What `residual_lines` finds: the gap that images of the gold object have lost, and false alarms on other objects.

Gold: 64 x 64, 768 patterns (zig-zag), 1 s each, simulated scans with perfect masks, and on etched boards without a
reference, with a reference scan and with measured masks. Baseline: `measure_gap` on the same images at the same place.

Objects: random ones of the families that draw no lines on purpose, 768 patterns (zig-zag), 5, 10, 20 and 30 dB in turn.
An object counts as one without lines if its truth has no feature narrower than 5 pixels, brighter or darker than
its surroundings by a fifth of its range, that is 8 pixels long. Those with such features (bars, rims, grain) are
counted apart. A claim is "in truth" where the truth itself is brighter (darker) than on both sides, 3 pixels away.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
from scipy.ndimage import find_objects, grey_closing, grey_opening, label, map_coordinates

from benchmarks._timing import report
from benchmarks.paper.rows import REFERENCE_NAMES, scan_objects
from benchmarks.paper.scans import beamline, etched_parameters, scan_image, without_defects
from benchmarks.suite.timing import one_thread
from benchmarks.suite.workload import measure, pattern_set
from cxgi_bluesky import CxgiError, Measurement, ResidualLine, reconstruct, residual_lines
from cxgi_bluesky.analysis.resolution.gap import measure_gap
from cxgi_bluesky.masks.board import load_board
from cxgi_bluesky.reconstruction.residual_lines import MIN_Z
from cxgi_bluesky.simulation.objects.paper import (
    GOLD_COLUMN_UM,
    GOLD_FIELD_UM,
    GOLD_GAP_UM,
    GOLD_RADIUS_UM,
    GOLD_TILT_DEG,
)
from cxgi_bluesky.simulation.random_objects import random_object

Image = np.ndarray
SIZE, COUNT, ORDER = 64, 768, "zig-zag"
LOWEST_Z = 4.0
THRESHOLDS = (4.0, 4.25, 4.5, 4.75, 5.0, 5.5, 6.0)
FAMILIES = ("binary_shapes", "phantom", "thickness_profile", "texture", "photograph")
SNR_DB = (5.0, 10.0, 20.0, 30.0)
_SEED = 5150  # of the objects
_ANGLE_DEG, _PLACE_PX = 3.0, 1.5  # how near a line is to the gap to be the gap
_FEATURE_PX, _FEATURE_LENGTH_PX, _FEATURE_CONTRAST = 5, 8, 0.2
_SIDE_PX = 3.0
_GAP_LINE = (29.1, 20.2, 32.7, 37.0)  # across the gap, 8.5 pixels to each side of its middle


# ---------------------------------------------------------------- gold


def gold_scans(boards: int) -> Iterator[tuple[str, Measurement]]:
    """Two scans a board with every kind of masks, and as many with perfect ones."""
    perfect = without_defects(etched_parameters(load_board("au64"), 0))
    for seed in range(2 * boards):
        line = beamline("au64", "gold", seed, perfect, run=1)
        yield "perfect masks", Measurement.from_exposures(scan_image(line, COUNT, ORDER))
    for seed in range(boards):
        for _, scanned in scan_objects("au64", ("gold", "gold"), seed, ORDER):
            for reference, measurement in scanned.measurements.items():
                yield f"etched, {REFERENCE_NAMES[reference]}", measurement


def is_gap(line: ResidualLine) -> bool:
    """Whether a line is the gap of the gold object."""
    if line.kind != "bright line" or line.angle_deg is None or abs(line.angle_deg - GOLD_TILT_DEG) > _ANGLE_DEG:
        return False
    tilt, middle = math.radians(GOLD_TILT_DEG), (SIZE - 1) / 2
    place_um = GOLD_COLUMN_UM + GOLD_GAP_UM / 2 - (GOLD_COLUMN_UM + GOLD_GAP_UM + GOLD_RADIUS_UM) / 2
    away = [
        math.cos(tilt) * (col - middle) + math.sin(tilt) * (row - middle) - place_um * SIZE / GOLD_FIELD_UM
        for row, col in (line.ends[:2], line.ends[2:])
    ]
    return max(map(abs, away)) <= _PLACE_PX


def in_image(image: Image) -> bool:
    """Whether the image itself shows the gap."""
    try:
        return measure_gap(image, _GAP_LINE).verdict != "unresolved"
    except CxgiError:
        return False


def gold(boards: int, make: Callable[[Measurement], Image]) -> dict[str, Any]:
    rows: dict[str, list[tuple[bool, tuple[ResidualLine, ...]]]] = {}
    for name, measurement in gold_scans(boards):
        image = make(measurement)
        found = residual_lines(measurement, image, min_z=3.0)
        rows.setdefault(name, []).append((in_image(image), found))
    return {name: summarize_gold(each) for name, each in rows.items()}


def summarize_gold(rows: list[tuple[bool, tuple[ResidualLine, ...]]]) -> dict[str, Any]:
    gaps = [next((line for line in found if is_gap(line)), None) for _, found in rows]
    z = sorted(round(gap.z, 2) for gap in gaps if gap is not None)
    return {
        "scans": len(rows),
        "gap_in_image": sum(shown for shown, _ in rows),
        "gap_strongest": sum(bool(found) and is_gap(found[0]) for _, found in rows),
        "gap_claimed": sum(gap is not None and gap.z >= MIN_Z for gap in gaps),
        "gap_z": z,
        "gap_chance_below_0.05": sum(gap is not None and gap.chance < 0.05 for gap in gaps),
        "other_claims": sum(line.z >= MIN_Z and not is_gap(line) for _, found in rows for line in found),
    }


# ---------------------------------------------------------------- false alarms


def has_fine_lines(truth: Image) -> bool:
    """Whether the truth has features that are narrow, long and of some contrast."""
    window = (_FEATURE_PX, _FEATURE_PX)
    for narrow in (truth - grey_opening(truth, window), grey_closing(truth, window) - truth):
        parts, _ = label(narrow > _FEATURE_CONTRAST * np.ptp(truth), np.ones((3, 3)))
        if any(max(s.stop - s.start for s in part) >= _FEATURE_LENGTH_PX for part in find_objects(parts)):
            return True
    return False


def in_truth(line: ResidualLine, truth: Image) -> bool:
    """Whether the truth is brighter (or darker) along a line than on both sides of it."""
    start, stop = np.array(line.ends[:2]), np.array(line.ends[2:])
    places = start + np.linspace(0, 1, 2 * SIZE)[:, None] * (stop - start)
    length = np.hypot(*(stop - start))
    sides = [(stop - start)[::-1] / length * (-1, 1)] if length > 0 else [np.array((1, 0)), np.array((0, 1))]

    def level(shift: Image) -> float:
        return float(map_coordinates(truth, (places + shift).T, order=1, mode="nearest").mean())

    sign = 1 if line.kind.startswith("bright") else -1
    steps = [sign * (level(np.zeros(2)) - level(way * _SIDE_PX * side)) for side in sides for way in (-1, 1)]
    return min(steps) > 0.02 * float(np.ptp(truth))


def objects(wanted: int, make: Callable[[Measurement], Image]) -> dict[str, Any]:
    """Objects are drawn until so many are without fine lines."""
    claims: dict[bool, list[list[tuple[ResidualLine, bool]]]] = {False: [], True: []}
    number = 0
    while len(claims[False]) < wanted:
        family, snr_db = FAMILIES[number % len(FAMILIES)], SNR_DB[number // len(FAMILIES) % len(SNR_DB)]
        truth = random_object(np.random.default_rng([_SEED, number]), SIZE, {family: 1.0}).astype(np.float64)
        measurement = measure(truth, pattern_set(ORDER, 0), snr_db=snr_db, seed=number)
        found = residual_lines(measurement, make(measurement), min_z=LOWEST_Z)
        claims[has_fine_lines(truth)].append([(line, in_truth(line, truth)) for line in found])
        number += 1
    names = {False: "without lines", True: "with fine lines or bars"}
    return {names[fine]: summarize_claims(each) for fine, each in claims.items()}


def summarize_claims(each: list[list[tuple[ResidualLine, bool]]]) -> dict[str, Any]:
    """Objects with a claim, by threshold: any, lines and points alone, and those that the truth does not show."""

    def count(z: float, wanted: Callable[[ResidualLine, bool], bool]) -> int:
        return sum(any(line.z >= z and wanted(line, true) for line, true in found) for found in each)

    kinds: Mapping[str, Callable[[ResidualLine, bool], bool]] = {
        "claims": lambda line, true: True,
        "of lines": lambda line, true: line.kind.endswith("line"),
        "of points": lambda line, true: line.kind.endswith("point"),
        "not in truth": lambda line, true: not true,
        "lines not in truth": lambda line, true: line.kind.endswith("line") and not true,
        "chance below 0.05": lambda line, true: line.chance < 0.05,
    }
    rows = {name: {f"z {z:g}": count(z, wanted) for z in THRESHOLDS} for name, wanted in kinds.items()}
    return {"objects": len(each), **rows}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--boards", type=int, default=6, help="etched boards, two scans each (0: no gold)")
    parser.add_argument("--objects", type=int, default=500, help="objects without lines (0: none)")
    parser.add_argument("--method", default="ch-mwcnn")
    parser.add_argument("--weights", metavar="FILE", help="of ch-mwcnn (default: shipped)")
    options = parser.parse_args()
    words = {} if options.weights is None else {"weights": options.weights}

    def make(measurement: Measurement) -> Image:
        return reconstruct(measurement, method=options.method, **words).image

    results: dict[str, Any] = {"method": options.method, "weights": options.weights, "claimed_from_z": MIN_Z}
    with one_thread():
        if options.boards:
            results["gold"] = gold(options.boards, make)
        if options.objects:
            results["false alarms"] = objects(options.objects, make)
    report("residual_lines", results)


if __name__ == "__main__":
    main()
