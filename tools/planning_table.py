"""The table behind `cxgi plan`: simulated scans, and the smooth law through them.

    python -m tools.planning_table --work FOLDER --out cxgi_bluesky/reconstruction/planning/data/planning_table.csv

Each scan has an object of its own, a number of patterns and a noise drawn at random; all orders see the same object.
What the network makes of it is compared with `ideal_psnr_db`, which says how hard the object is: their difference
varies little, and a polynomial of it is fitted. The table holds its mean over many objects. Lines likewise: a logistic
law of patterns, noise and width. Scans are kept in FOLDER, and a run that was cut off goes on.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import combinations_with_replacement
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxgi_bluesky.analysis.metrics import affine_fit, psnr
from cxgi_bluesky.reconstruction.api import reconstruct_many
from cxgi_bluesky.reconstruction.ch_mwcnn.weights import SHIPPED_WEIGHTS
from cxgi_bluesky.reconstruction.planning.table import COLUMNS, LINE_WIDTHS_PX
from cxgi_bluesky.reconstruction.planning.table import Masks as MaskKind
from cxgi_bluesky.simulation.random_objects import random_object
from tools.planning_scans import Tiles, etched_tiles, ideal_psnr_db, line_object, measure, pattern_set, shows_line

Array = NDArray[Any]
ORDERS = ("zig-zag", "cake-cutting", "variable-density", "learned-density")
BOARD_SEED = 10
_BATCH = 12  # objects that are scanned and kept together
_MIN_WIDTH_PX, _MAX_WIDTH_PX = 0.8, 3.2
_REST_STEPS = 40
_RIDGE_DB, _RIDGE_LOGIT = 1e-3, 0.3


@dataclass(frozen=True)
class Block:
    """Scans of one size and kind of masks.

    Attributes
    ----------
    size : int
    masks : {"perfect", "none", "reference"}
    counts : tuple of int
        Numbers of patterns of the table; scans have any between the first and the last.
    noise_db : tuple of float
        Noises of the table, likewise.
    objects, lines : int
        How many are scanned, in each order.
    population : int
        Objects of which the table holds the mean.
    """

    size: int
    masks: MaskKind
    counts: tuple[int, ...]
    noise_db: tuple[float, ...]
    objects: int
    lines: int
    population: int = 1000

    @property
    def name(self) -> str:
        """For files and messages."""
        return f"{self.size}-{self.masks}"


_COUNTS = (96, 128, 192, 256, 384, 512, 768, 1024, 1536, 2048, 3072, 4096, 6144)
_NOISE_DB = tuple(float(db) for db in range(24, 65, 5))
_ETCHED_DB = _NOISE_DB[1:-1]
BLOCKS = (
    Block(64, "perfect", _COUNTS[:11], _NOISE_DB, 480, 300),
    Block(64, "none", _COUNTS[:9], _ETCHED_DB, 180, 108),
    Block(64, "reference", _COUNTS[:9], _ETCHED_DB, 180, 108),
    Block(32, "perfect", _COUNTS[:8], _NOISE_DB, 396, 300),
    Block(32, "none", _COUNTS[:8], _ETCHED_DB, 180, 108),
    Block(32, "reference", _COUNTS[:8], _ETCHED_DB, 180, 108),
    Block(128, "perfect", _COUNTS[4:], _NOISE_DB[1:], 120, 84, 500),
)


# ---------------------------------------------------------------- scans


@dataclass(frozen=True)
class Scan:
    """What one scan gave: PSNR and the object's ideal one (dB), or whether the line shows."""

    order: int
    count: int
    noise_db: float
    width_px: float
    ideal_db: float
    result: float


def draw(block: Block, rng: np.random.Generator) -> tuple[int, float]:
    """Number of patterns, evenly in its logarithm, and noise, evenly in dB."""
    low, high = np.log(block.counts[0]), np.log(block.counts[-1])
    return round(float(np.exp(rng.uniform(low, high)))), float(rng.uniform(block.noise_db[0], block.noise_db[-1]))


def scan_objects(block: Block, seeds: Sequence[Sequence[int]], tiles: Tiles | None) -> list[Scan]:
    """Scan an object of each seed in every order.

    Parameters
    ----------
    block : Block
    seeds : sequence of sequence of int
    tiles : Tiles or None
        For etched masks.
    """
    scans, measurements, truths = [], [], []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        count, noise_db = draw(block, rng)
        truth = random_object(rng, block.size)
        for number, order in enumerate(ORDERS):
            ideal = float(ideal_psnr_db(truth, order, [count], [noise_db])[0, 0])
            scans.append(Scan(number, count, noise_db, 0.0, ideal, 0.0))
            patterns = pattern_set(block.size, count, order)
            measurements.append(measure(truth, patterns, noise_db, block.masks, rng, tiles))
            truths.append(truth)
    images = [made.image for made in reconstruct_many(measurements)]
    found = [psnr(affine_fit(image, truth), truth, data_range=1.0) for image, truth in zip(images, truths, strict=True)]
    return [_with_result(scan, value) for scan, value in zip(scans, found, strict=True)]


def scan_lines(block: Block, seeds: Sequence[Sequence[int]], tiles: Tiles | None) -> list[Scan]:
    """Scan a dark body with a gap of a random width, likewise."""
    scans, measurements, drawn = [], [], []
    for seed in seeds:
        rng = np.random.default_rng(seed)
        count, noise_db = draw(block, rng)
        one = line_object(rng, block.size, float(rng.uniform(_MIN_WIDTH_PX, _MAX_WIDTH_PX)))
        for number, order in enumerate(ORDERS):
            scans.append(Scan(number, count, noise_db, one.width_px, 0.0, 0.0))
            patterns = pattern_set(block.size, count, order)
            measurements.append(measure(one.truth, patterns, noise_db, block.masks, rng, tiles))
            drawn.append(one)
    images = [made.image for made in reconstruct_many(measurements)]
    return [
        _with_result(scan, float(shows_line(image, one))) for scan, image, one in zip(scans, images, drawn, strict=True)
    ]


def _with_result(scan: Scan, result: float) -> Scan:
    return Scan(scan.order, scan.count, scan.noise_db, scan.width_px, scan.ideal_db, result)


Scanner = Callable[[Block, Sequence[Sequence[int]], Tiles | None], list[Scan]]
KINDS: dict[str, tuple[int, Scanner]] = {"objects": (0, scan_objects), "lines": (1, scan_lines)}


def collect(block: Block, kind: str, seed: int, work: Path, tiles: Callable[[], Tiles | None]) -> Array:
    """Scans of a block as rows, from `work` as far as they are there.

    Parameters
    ----------
    block : Block
    kind : {"objects", "lines"}
    seed : int
    work : Path
    tiles : callable
        Draws the masks, if scans are missing.

    Returns
    -------
    ndarray, shape (scans, 6)
        Columns as the attributes of `Scan`.
    """
    number, scanner = KINDS[kind]
    total = block.objects if kind == "objects" else block.lines
    rows = []
    for first in range(0, total, _BATCH):
        path = work / f"{block.name}-{kind}-{seed}-{first}.npy"
        if not path.exists():
            started = time.perf_counter()
            seeds = [[seed, block.size, number, one] for one in range(first, min(first + _BATCH, total))]
            made = np.array([list(vars(scan).values()) for scan in scanner(block, seeds, tiles())])
            np.save(path, made, allow_pickle=False)
            print(f"{path.name} of {total}: {time.perf_counter() - started:.1f} s", file=sys.stderr, flush=True)
        rows.append(np.load(path, allow_pickle=False))
    return np.concatenate(rows)


class Masks:
    """Etched tiles of each size, drawn once and kept."""

    def __init__(self, work: Path, seed: int) -> None:
        self._work, self._seed = work, seed
        self._tiles: dict[int, Tiles] = {}

    def of(self, block: Block) -> Tiles | None:
        """Those of a block; None for perfect ones."""
        if block.masks == "perfect":
            return None
        if block.size not in self._tiles:
            self._tiles[block.size] = self._read_or_draw(block)
        return self._tiles[block.size]

    def _read_or_draw(self, block: Block) -> Tiles:
        path = self._work / f"tiles-{block.size}-{self._seed}.npz"
        if not path.exists():
            started = time.perf_counter()
            tiles = etched_tiles(block.size, ORDERS, block.counts[-1], self._seed)
            np.savez(path, row=tiles.row, image=tiles.image, reference=tiles.reference)
            print(f"{path.name}: {time.perf_counter() - started:.1f} s", file=sys.stderr, flush=True)
        with np.load(path, allow_pickle=False) as file:
            return Tiles(file["row"], file["image"], file["reference"])


# ---------------------------------------------------------------- laws


def polynomial(variables: Sequence[Array], degree: int) -> Array:
    """All products of up to `degree` of the variables, as columns.

    Parameters
    ----------
    variables : sequence of ndarray, shape (rows,)
    degree : int
    """
    columns = [np.ones_like(variables[0])]
    for number in range(1, degree + 1):
        columns += [np.prod(some, axis=0) for some in combinations_with_replacement(variables, number)]
    return np.stack(columns, axis=1)


def fit_linear(features: Array, values: Array) -> Array:
    """Least squares with a small ridge.

    Parameters
    ----------
    features : ndarray, shape (rows, columns)
    values : ndarray, shape (rows,)
    """
    ridge = _RIDGE_DB * len(features) * np.eye(features.shape[1])
    ridge[0, 0] = 0
    weights: Array = np.linalg.solve(features.T @ features + ridge, features.T @ values)
    return weights


def fit_logistic(features: Array, shown: Array) -> Array:
    """Logistic regression with a ridge, by Newton's method.

    Parameters
    ----------
    features : ndarray, shape (rows, columns)
    shown : ndarray, shape (rows,)
        0 or 1.
    """
    weights = np.zeros(features.shape[1])
    ridge = _RIDGE_LOGIT * np.eye(len(weights))
    ridge[0, 0] = 1e-6
    for _ in range(50):
        chance = logistic(features @ weights)
        slope = features.T @ (shown - chance) - ridge @ weights
        curvature = (features.T * (chance * (1 - chance))) @ features + ridge
        step = np.linalg.solve(curvature, slope)
        weights = weights + step
        if np.abs(step).max() < 1e-8:
            break
    return weights


def logistic(values: Array) -> Array:
    """1 / (1 + exp(-x))."""
    chance: Array = 1 / (1 + np.exp(-np.clip(values, -30, 30)))
    return chance


def _scaled(count: Array, noise_db: Array) -> list[Array]:
    """Logarithm of the patterns, and the noise, both about -1..1."""
    return [np.log2(np.asarray(count, float) / 512) / 3, (np.asarray(noise_db, float) - 44) / 20]


def object_features(count: Array, noise_db: Array, ideal_db: Array) -> Array:
    """What the difference between the network's PSNR and the ideal one may depend on."""
    return polynomial([*_scaled(count, noise_db), (np.asarray(ideal_db, float) - 22) / 10], 3)


def line_features(count: Array, noise_db: Array, width_px: Array) -> Array:
    """What the probability that a line shows may depend on."""
    return polynomial([*_scaled(count, noise_db), np.asarray(width_px, float) - 2], 2)


# ---------------------------------------------------------------- the table


def rows_of(block: Block, objects: Array, lines: Array, seed: int) -> Iterator[list[Any]]:
    """Rows of the table, of `COLUMNS`.

    Parameters
    ----------
    block : Block
    objects, lines : ndarray
        Of `collect`.
    seed : int
        Of the population.
    """
    rng = np.random.default_rng([seed, block.size, 2])
    population = [random_object(rng, block.size) for _ in range(block.population)]
    for number, order in enumerate(ORDERS):
        expected = expect_psnr(block, order, objects[objects[:, 0] == number], population)
        shown = expect_lines(block, lines[lines[:, 0] == number])
        for i, count in enumerate(block.counts):
            for j, noise_db in enumerate(block.noise_db):
                values = [f"{value:.2f}" for value in expected[i, j]] + [f"{value:.3f}" for value in shown[i, j]]
                yield [block.size, block.masks, order, count, f"{noise_db:g}", *values]


def expect_psnr(block: Block, order: str, scans: Array, population: Sequence[Array]) -> Array:
    """Mean, 16 % and 84 % of the PSNR (dB) over a population, rising with less noise; shape (counts, noises, 3).

    Parameters
    ----------
    block : Block
    order : str
    scans : ndarray, shape (scans, 6)
        Of this order.
    population : sequence of ndarray, each of shape (n, n)
    """
    _, count, noise_db, _, ideal_db, found_db = scans.T
    features = object_features(count, noise_db, ideal_db)
    weights = fit_linear(features, found_db - ideal_db)
    rest = found_db - ideal_db - features @ weights
    print(f"{block.name} {order}: {len(scans)} objects, rest {rest.std():.2f} dB", flush=True)
    rest = np.quantile(rest, (np.arange(_REST_STEPS) + 0.5) / _REST_STEPS)
    ideal = np.array([ideal_psnr_db(truth, order, block.counts, block.noise_db) for truth in population])
    table = np.empty((*ideal.shape[1:], 3))
    for i, count in enumerate(block.counts):
        for j, noise in enumerate(block.noise_db):
            known = ideal[:, i, j]
            same = np.full(len(known), 1.0)
            likely = known + object_features(count * same, noise * same, known) @ weights
            table[i, j] = likely.mean(), *np.quantile(np.add.outer(likely, rest), (0.16, 0.84))
    rising: Array = np.maximum.accumulate(table, axis=1)
    return rising


def expect_lines(block: Block, scans: Array) -> Array:
    """Probability that a line of each width shows, rising with less noise and with width; (counts, noises, widths)."""
    _, count, noise_db, width_px, _, shown = scans.T
    weights = fit_logistic(line_features(count, noise_db, width_px), shown)
    grid = np.meshgrid(block.counts, block.noise_db, LINE_WIDTHS_PX, indexing="ij")
    chance = logistic(line_features(*(axis.ravel() for axis in grid)) @ weights).reshape(grid[0].shape)
    rising: Array = np.maximum.accumulate(np.maximum.accumulate(chance, axis=1), axis=2)
    return rising


def main() -> None:
    """Scan what is missing, fit, write the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--work", type=Path, required=True, help="folder of the scans")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    options.work.mkdir(parents=True, exist_ok=True)
    masks, rows = Masks(options.work, BOARD_SEED), []
    for block in BLOCKS:
        tiles = partial(masks.of, block)
        objects, lines = (collect(block, kind, options.seed, options.work, tiles) for kind in KINDS)
        rows += list(rows_of(block, objects, lines, options.seed))
    facts = {
        "made_by": "tools/planning_table.py",
        "method": "ch-mwcnn",
        "weights_sha256": hashlib.sha256(SHIPPED_WEIGHTS.read_bytes()).hexdigest(),
        "seed": options.seed,
        "board_seed": BOARD_SEED,
        "scans": {block.name: len(ORDERS) * (block.objects + block.lines) for block in BLOCKS},
    }
    with options.out.open("w", encoding="utf-8", newline="") as stream:
        stream.write(f"# {json.dumps(facts)}\n")
        writer = csv.writer(stream, lineterminator="\n")
        writer.writerows([COLUMNS, *rows])
    print(f"{len(rows)} rows -> {options.out}, {options.out.stat().st_size} bytes", flush=True)


if __name__ == "__main__":
    main()
