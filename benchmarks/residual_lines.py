"""What `residual_lines` finds: the gap that images of the gold object have lost, and false alarms on other objects.

Gold: 64 x 64, 768 patterns (zig-zag), 1 s each, simulated scans with perfect masks, and on etched boards without a
reference, with a reference scan and with measured masks. Baseline: how much of the gap the images themselves show.

Objects: random ones of the families that draw no lines on purpose, 768 patterns (zig-zag), 5, 10, 20 and 30 dB in turn.
An object counts as one without lines if its truth has no feature narrower than 5 pixels, brighter or darker than
its surroundings by a fifth of its range, that is 8 pixels long. Those with such features (bars, rims, grain) are
counted apart. A claim is "in truth" where the truth itself is brighter (darker) than on both sides, 3 pixels away.
Objects without lines are also put behind the masks of the etched boards, as their cameras' maps have them.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from scipy.ndimage import find_objects, grey_closing, grey_opening, label, map_coordinates

from benchmarks._timing import report
from benchmarks.paper.rows import REFERENCE_NAMES, REFERENCES, scan_objects
from benchmarks.paper.scans import beamline, etched_parameters, scan_image, without_defects
from benchmarks.suite.timing import one_thread
from benchmarks.suite.workload import measure, pattern_set
from cxgi_bluesky import Measurement, ResidualLine, reconstruct, residual_lines
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
Board = tuple[Measurement, ...]  # a scan of it with every kind of reference
SIZE, COUNT, ORDER = 64, 768, "zig-zag"
LOWEST_Z = 4.0
THRESHOLDS = (4.0, 4.25, 4.5, 4.75, 5.0, 5.5, 6.0)
FAMILIES = ("binary_shapes", "phantom", "thickness_profile", "texture", "photograph")
SNR_DB = (5.0, 10.0, 20.0, 30.0)
_SEED = 5150  # of the objects
_ANGLE_DEG, _PLACE_PX = 3.0, 1.5  # how near a line is to the gap to be the gap
_FEATURE_PX, _FEATURE_LENGTH_PX, _FEATURE_CONTRAST = 5, 8, 0.2
_SIDE_PX = 3.0
_TILT, _MIDDLE = math.radians(GOLD_TILT_DEG), (SIZE - 1) / 2
_GAP_UM = GOLD_COLUMN_UM + GOLD_GAP_UM / 2 - (GOLD_COLUMN_UM + GOLD_GAP_UM + GOLD_RADIUS_UM) / 2
_GAP_PX = _GAP_UM * SIZE / GOLD_FIELD_UM  # distance of the gap from the middle of the field
_ALONG_PX = 28.0  # of the gap, to each side


# ---------------------------------------------------------------- gold


def gold_scans(boards: int) -> Iterator[tuple[str, Measurement, Image]]:
    """Two scans a board with every kind of masks, and as many with perfect ones; each with its truth."""
    perfect = without_defects(etched_parameters(load_board("au64"), 0))
    for seed in range(2 * boards):
        line = beamline("au64", "gold", seed, perfect, run=1)
        yield "perfect masks", Measurement.from_exposures(scan_image(line, COUNT, ORDER)), line.simulation.truth
    for seed in range(boards):
        for _, scanned in scan_objects("au64", ("gold", "gold"), seed, ORDER):
            for reference, measurement in scanned.measurements.items():
                yield f"etched, {REFERENCE_NAMES[reference]}", measurement, scanned.truth


def is_gap(line: ResidualLine) -> bool:
    """Whether a line is the gap of the gold object."""
    if line.kind != "bright line" or line.angle_deg is None or abs(line.angle_deg - GOLD_TILT_DEG) > _ANGLE_DEG:
        return False
    away = [
        math.cos(_TILT) * (col - _MIDDLE) + math.sin(_TILT) * (row - _MIDDLE) - _GAP_PX
        for row, col in (line.ends[:2], line.ends[2:])
    ]
    return max(map(abs, away)) <= _PLACE_PX


def gap_contrast(image: Image) -> float:
    """How much brighter the gap is than the gold to its sides, over the range of the image."""
    along = np.linspace(-_ALONG_PX, _ALONG_PX, 2 * SIZE)

    def level(shift: float) -> float:
        across = _GAP_PX + shift
        cols = _MIDDLE + math.cos(_TILT) * across - math.sin(_TILT) * along
        rows = _MIDDLE + math.sin(_TILT) * across + math.cos(_TILT) * along
        return float(map_coordinates(np.asarray(image, dtype=np.float64), (rows, cols), order=1).mean())

    return (level(0.0) - (level(-_SIDE_PX) + level(_SIDE_PX)) / 2) / float(np.ptp(image))


def gold(boards: int, make: Callable[[Measurement], Image]) -> tuple[dict[str, Any], list[Board]]:
    """Summary of the scans, and the boards."""
    kept: dict[str, list[Measurement]] = {}
    rows: dict[str, list[tuple[float, tuple[ResidualLine, ...]]]] = {}
    for name, measurement, truth in gold_scans(boards):
        kept.setdefault(name, []).append(measurement)
        image = make(measurement)
        found = residual_lines(measurement, image, min_z=3.0)
        rows.setdefault(name, []).append((gap_contrast(image) / gap_contrast(truth), found))
    etched = [kept[f"etched, {REFERENCE_NAMES[reference]}"][::2] for reference in REFERENCES]
    return {name: summarize_gold(each) for name, each in rows.items()}, list(zip(*etched, strict=True))


def summarize_gold(rows: list[tuple[float, tuple[ResidualLine, ...]]]) -> dict[str, Any]:
    gaps = [next((line for line in found if is_gap(line)), None) for _, found in rows]
    z = sorted(round(gap.z, 2) for gap in gaps if gap is not None)
    return {
        "scans": len(rows),
        "share_of_gap_in_image": round(float(np.mean([shown for shown, _ in rows])), 2),
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


def draw_objects(wanted: int, *, fine: bool) -> Iterator[tuple[int, float, Image]]:
    """So many objects with or without fine lines: the number of each, its noise (dB) and its truth."""
    number, found = 0, 0
    while found < wanted:
        family, snr_db = FAMILIES[number % len(FAMILIES)], SNR_DB[number // len(FAMILIES) % len(SNR_DB)]
        truth = random_object(np.random.default_rng([_SEED, number]), SIZE, {family: 1.0}).astype(np.float64)
        if has_fine_lines(truth) == fine:
            yield number, snr_db, truth
            found += 1
        number += 1


def objects(wanted: int, make: Callable[[Measurement], Image], boards: Sequence[Board]) -> dict[str, Any]:
    """Claims on objects with and without lines behind perfect masks, and on those without behind etched ones."""

    def claims(measurement: Measurement, truth: Image) -> list[tuple[ResidualLine, bool]]:
        found = residual_lines(measurement, make(measurement), min_z=LOWEST_Z)
        return [(line, in_truth(line, truth)) for line in found]

    results = {}
    for name, fine in (("without lines", False), ("with fine lines or bars", True)):
        each = [
            claims(measure(truth, pattern_set(ORDER, 0), snr_db=snr_db, seed=number), truth)
            for number, snr_db, truth in draw_objects(wanted, fine=fine)
        ]
        results[name] = summarize_claims(each)
    for reference in (False, True) if boards else ():
        each = [
            claims(behind(boards[number % len(boards)], truth, snr_db, number, reference=reference), truth)
            for number, snr_db, truth in draw_objects(wanted, fine=False)
        ]
        results[f"without lines, etched, {REFERENCE_NAMES[reference]}"] = summarize_claims(each)
    return results


def behind(board: Board, truth: Image, snr_db: float, seed: int, *, reference: bool) -> Measurement:
    """A scan of another object behind a board whose maps are known to us alone."""
    scanned, masks = board[int(reference)], board[2].masks
    assert masks is not None
    exact, light = (masks.reshape(len(masks), -1) @ image.ravel() for image in (truth, np.ones_like(truth)))
    zero = int(np.flatnonzero(scanned.pattern_index == 0)[0])
    others = np.delete(np.arange(len(exact)), zero)
    if reference:  # as a reference scan without noise corrects
        exact[others] -= (light[others] - light[others].mean()) * exact[zero] / light[zero]
    sigma = float(np.sqrt(np.mean(exact[others] ** 2))) / 10 ** (snr_db / 20)
    noisy = exact + sigma * np.random.default_rng(seed).normal(size=len(exact))
    changes = {"coefficient": noisy, "sigma": np.full(len(exact), sigma), "sigma_common": 0.0, "validation": None}
    return replace(scanned, **changes, scale="transmission")


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

    boards: list[Board] = []
    results: dict[str, Any] = {"method": options.method, "weights": options.weights, "claimed_from_z": MIN_Z}
    with one_thread():
        if options.boards:
            results["gold"], boards = gold(options.boards, make)
        if options.objects:
            results["false alarms"] = objects(options.objects, make, boards)
    report("residual_lines", results)


if __name__ == "__main__":
    main()
