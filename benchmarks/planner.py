"""What `cxgi plan` predicts, against scans that its table has never seen: other objects, noises, seeds and boards.

`predictions`: for each size and kind of masks, objects of all families at random numbers of patterns and noises between
those of the table; bias of the predicted PSNR (found less predicted, with its standard error), its spread (share of the
objects within 16..84 %) and of the probability that a line shows. `maps`: PSNR behind etched and measured masks, for
which the table of perfect ones is used, less that of perfect masks, on the same objects. `gain`: PSNR of the planner's
choice less that of the baseline, 768 patterns in zig-zag (192 at 32 x 32) in as much open time, on the same objects.
`gold`: both on the gold object by the simulated beamline, drift and all.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._timing import report
from benchmarks.headline import WITH_GAP, scan, simulation
from benchmarks.paper.rows import CAMERA_NOISE
from benchmarks.suite.timing import one_thread
from cxgi_bluesky.analysis.metrics import affine_fit, compare, psnr
from cxgi_bluesky.masks.board import load_board
from cxgi_bluesky.masks.pattern_set import PatternSet
from cxgi_bluesky.masks.tile_maps import TileMaps
from cxgi_bluesky.measurement.measurement import Measurement
from cxgi_bluesky.reconstruction.api import reconstruct_many
from cxgi_bluesky.reconstruction.planning.budget import Budget, Light, plan_measurement
from cxgi_bluesky.reconstruction.planning.table import planning_table
from cxgi_bluesky.simulation.base import Detector
from cxgi_bluesky.simulation.random_objects import FAMILIES, random_object
from tools.planning_scans import Tiles, line_object, measure, pattern_set, shows_line
from tools.planning_table import BLOCKS, Block, Masks

SEED, BOARD_SEED = 77, 20  # the table's are 0 and 10
BASELINE = {32: 192, 64: 768, 128: 3072}  # patterns, in zig-zag
CASES = (  # board, current (pA), open time (s)
    *(("au64", 5.0, seconds) for seconds in (120.0, 600.0, 1800.0, 7200.0)),
    *(("cu32", 60.0, seconds) for seconds in (10.0, 60.0, 600.0)),
)
GOLD_PA, GOLD_OPEN_S = 15.0, (300.0, 768.0, 2304.0)
_TOGETHER = 12


def objects(size: int, count: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Random objects, each family as often as its share asks."""
    names, shares = list(FAMILIES), np.array([share for share, _ in FAMILIES.values()])
    for place in rng.permutation(count):
        name = names[int(np.searchsorted(np.cumsum(shares) / shares.sum(), (place + 0.5) / count))]
        yield random_object(rng, size, {name: 1.0})


def found_db(measurements: Sequence[Measurement], truths: Sequence[np.ndarray]) -> list[float]:
    found: list[float] = []
    for first in range(0, len(truths), _TOGETHER):
        made = reconstruct_many(measurements[first : first + _TOGETHER])
        pairs = zip(made, truths[first : first + _TOGETHER], strict=True)
        found += [psnr(affine_fit(one.image, truth), truth, data_range=1.0) for one, truth in pairs]
    return found


def numbers(found: np.ndarray, low: np.ndarray, high: np.ndarray, predicted: np.ndarray) -> dict[str, float]:
    error = found - predicted
    return {
        "scans": len(found),
        "bias_db": mean_of(error),
        "bias_error_db": error_of(error),
        "spread_db": round(float(error.std()), 2),
        "within_16_84": round(float(((found > low) & (found < high)).mean()), 2),
    }


# ---------------------------------------------------------------- predictions


def drawn(block: Block, rng: np.random.Generator) -> tuple[int, float]:
    """Patterns and noise of one fresh scan."""
    return int(rng.choice(block.counts)), float(rng.uniform(block.noise_db[0], block.noise_db[-1]))


def check_objects(block: Block, count: int, tiles: Tiles | None) -> dict[str, Any]:
    """Predictions against fresh scans; each object is measured once, in one of the orders."""
    rng, table = np.random.default_rng([SEED, block.size, 0]), planning_table(block.size, block.masks)
    rows, measurements, truths = [], [], []
    for number, truth in enumerate(objects(block.size, count, rng)):
        patterns, noise_db = drawn(block, rng)
        order = table.orders[number % len(table.orders)]
        expected = table.expect(order, patterns, noise_db)
        rows.append((patterns, noise_db, expected.psnr_db, expected.psnr_low_db, expected.psnr_high_db))
        measurements.append(measure(truth, pattern_set(block.size, patterns, order), noise_db, block.masks, rng, tiles))
        truths.append(truth)
    patterns, noise_db, mean, low, high = np.array(rows).T
    found = np.array(found_db(measurements, truths))
    middle = np.median(block.counts)
    noisy = noise_db < np.mean([block.noise_db[0], block.noise_db[-1]])
    parts = {"noisy": noisy, "clean": ~noisy, "few_patterns": patterns < middle, "many_patterns": patterns >= middle}
    return {
        **numbers(found, low, high, mean),
        **{f"bias_{name}_db": mean_of((found - mean)[part]) for name, part in parts.items()},
    }


def check_maps(block: Block, count: int, tiles: Tiles) -> dict[str, Any]:
    """Measured masks less perfect ones, on the same objects; up to 768 patterns, as more take minutes."""
    rng = np.random.default_rng([SEED, block.size, 3])
    few = replace(block, counts=tuple(c for c in block.counts if c <= 768))
    truths, perfect, mapped = list(objects(block.size, count, rng)), [], []
    for truth in truths:
        patterns, noise_db = drawn(few, rng)
        chosen = pattern_set(block.size, patterns, "zig-zag")
        perfect.append(measure(truth, chosen, noise_db, "perfect", rng))
        mapped.append(with_maps(measure(truth, chosen, noise_db, "perfect", rng, tiles), tiles, rng))
    change = np.array(found_db(mapped, truths)) - np.array(found_db(perfect, truths))
    return {"objects": count, "change_db": mean_of(change), "change_error_db": error_of(change)}


def mean_of(values: np.ndarray) -> float:
    return round(float(values.mean()), 2)


def error_of(values: np.ndarray) -> float:
    """Standard error of the mean."""
    return round(float(values.std() / np.sqrt(len(values))), 2)


def with_maps(measurement: Measurement, tiles: Tiles, rng: np.random.Generator) -> Measurement:
    """The same with masks as a camera saw them, in another visit of the stage."""
    size, index = measurement.size, measurement.pattern_index
    maps = tiles.reference[tiles.row[index]].astype(np.float32).reshape(-1, size, size)
    maps = maps + np.float32(CAMERA_NOISE) * rng.normal(size=maps.shape).astype(np.float32)
    return measurement.with_tile_maps(TileMaps(size, index, maps, None, None, "camera"))


def check_lines(block: Block, count: int, tiles: Tiles | None) -> dict[str, Any]:
    rng, table = np.random.default_rng([SEED, block.size, 1]), planning_table(block.size, block.masks)
    lines, chances, measurements = [], [], []
    for number in range(count):
        patterns, noise_db = drawn(block, rng)
        order, width_px = table.orders[number % len(table.orders)], float(rng.uniform(1, 3))
        lines.append(line_object(rng, block.size, width_px))
        chances.append(table.expect(order, patterns, noise_db, width_px).line)
        chosen = pattern_set(block.size, patterns, order)
        measurements.append(measure(lines[-1].truth, chosen, noise_db, block.masks, rng, tiles))
    images = []
    for first in range(0, count, _TOGETHER):
        images += [made.image for made in reconstruct_many(measurements[first : first + _TOGETHER])]
    shown = np.array([shows_line(image, line) for image, line in zip(images, lines, strict=True)], float)
    predicted = np.array(chances, float)
    likely = predicted > 0.5
    return {
        "lines": count,
        "shown": round(float(shown.mean()), 3),
        "predicted": round(float(predicted.mean()), 3),
        "shown_where_likely": round(float(shown[likely].mean()), 3),
        "shown_where_unlikely": round(float(shown[~likely].mean()), 3),
        "brier": round(float(np.mean((shown - predicted) ** 2)), 3),
        "brier_of_the_mean": round(float(shown.var()), 3),
    }


# ---------------------------------------------------------------- gain


def check_gain(board_name: str, current_pa: float, open_s: float, count: int) -> dict[str, Any]:
    """The planner's choice and the baseline on the same objects, masks perfect."""
    board = load_board(board_name)
    made = plan_measurement(board, current_pa=current_pa, detector=Detector(), open_s=open_s)
    light = Light(board, current_pa, Detector(), 0.5, 1.0)
    exposure_s = Budget(open_s, True, 0.0).exposure_s(BASELINE[board.size])
    usual = PatternSet(board.size, BASELINE[board.size], "zig-zag")
    rng = np.random.default_rng([SEED, board.size, 2])
    truths = list(objects(board.size, count, rng))
    best = made.best
    ours, theirs = (
        np.array(found_db([measure(truth, patterns, noise_db, "perfect", rng) for truth in truths], truths))
        for patterns, noise_db in ((best.patterns, best.noise_db), (usual, light.noise_db(exposure_s)))
    )
    gain = ours - theirs
    return {
        "board": board_name,
        "current_pa": current_pa,
        "open_s": open_s,
        "chosen": f"{best.patterns.count} {best.patterns.order} x {best.exposure_s:g} s",
        "baseline": f"{usual.count} zig-zag x {exposure_s:g} s",
        "predicted_db": round(best.expected.psnr_db, 2),
        "found_db": mean_of(ours),
        "baseline_db": mean_of(theirs),
        "gain_db": mean_of(gain),
        "gain_error_db": error_of(gain),
        "objects_that_gain": round(float((gain > 0).mean()), 2),
    }


def check_gold(open_s: float, seeds: int) -> dict[str, Any]:
    """The planner's choice and the baseline on the gold object, by the simulated beamline with perfect masks."""
    board, detector = load_board("au64"), simulation(WITH_GAP, 0, 0, perfect=True).detector
    truth = simulation(WITH_GAP, 0, 0, perfect=True).truth
    light: dict[str, Any] = {"current_pa": GOLD_PA, "detector": detector, "transmission": float(truth.mean())}
    made = plan_measurement(board, open_s=open_s, line_um=10.0, **light)
    exposure_s = Budget(open_s, True, 0.0).exposure_s(BASELINE[64])
    ways = {
        "chosen": (made.best.patterns, made.best.exposure_s),
        "baseline": (PatternSet(64, 768, "zig-zag"), exposure_s),
    }
    found = {}
    for name, (patterns, seconds) in ways.items():
        scans = [scan(simulation(WITH_GAP, 0, 100 + seed, perfect=True), patterns, seconds) for seed in range(seeds)]
        images = [one.image for one in reconstruct_many([Measurement.from_exposures(each) for each in scans])]
        found[name] = round(float(np.mean([compare(image, truth)["psnr_db"] for image in images])), 2)
    return {
        "open_s": open_s,
        **{name: f"{patterns.count} {patterns.order} x {s:g} s" for name, (patterns, s) in ways.items()},
        "predicted_db": round(made.best.expected.psnr_db, 2),
        "predicted_16_84_db": [round(made.best.expected.psnr_low_db, 1), round(made.best.expected.psnr_high_db, 1)],
        "found_db": found["chosen"],
        "baseline_db": found["baseline"],
        "gain_db": round(found["chosen"] - found["baseline"], 2),
    }


def check_predictions(masks: Masks, count: int) -> dict[str, Any]:
    results = {}
    for block in BLOCKS:
        fewer = count if block.size < 128 else count // 2
        found = [check(block, fewer, masks.of(block)) for check in (check_objects, check_lines)]
        results[block.name] = {name: value for one in found for name, value in one.items()}
        print(block.name, results[block.name], file=sys.stderr, flush=True)
    return results


def check_all_maps(masks: Masks, count: int) -> dict[str, Any]:
    results = {}
    for block in BLOCKS:
        tiles = masks.of(block)
        if block.masks == "none" and tiles is not None:
            results[str(block.size)] = check_maps(block, count // 8, tiles)
    return results


PARTS: dict[str, Callable[[Masks, int], Any]] = {
    "predictions": check_predictions,
    "maps": check_all_maps,
    "gain": lambda masks, count: [check_gain(*case, count // 4) for case in CASES],
    "gold": lambda masks, count: [check_gold(open_s, 6) for open_s in GOLD_OPEN_S],
}


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder where drawn boards are kept")
    parser.add_argument("--objects", type=int, default=400, help="for each size and kind of masks (%(default)s)")
    parser.add_argument("--parts", nargs="+", choices=tuple(PARTS), default=tuple(PARTS))
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    masks = Masks(options.work, BOARD_SEED)
    with one_thread():
        results = {part: PARTS[part](masks, options.objects) for part in options.parts}
    baseline = {str(size): f"{patterns} zig-zag, the same open time" for size, patterns in BASELINE.items()}
    report("planner", {"baseline": baseline, **results})


if __name__ == "__main__":
    main()
