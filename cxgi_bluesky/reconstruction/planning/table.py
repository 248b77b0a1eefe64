"""What images to expect from a number of patterns at a noise: the shipped table, made by `tools/planning_table.py`.

A CSV file: one row for each size, kind of masks, order, number of patterns and noise. Its first line, a comment, says
in JSON how it was made.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from importlib import resources
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Masks = Literal["perfect", "none", "reference"]
MASKS: tuple[Masks, ...] = get_args(Masks)

LINE_WIDTHS_PX = (1.0, 2.0, 3.0)
COLUMNS = (
    *("size", "masks", "order", "patterns", "noise_db", "psnr_db", "psnr_low_db", "psnr_high_db"),
    *(f"line_{width:g}px" for width in LINE_WIDTHS_PX),
)
_VALUES = len(COLUMNS) - 5


@dataclass(frozen=True)
class Expected:
    """What to expect of the image of a scan, over objects and noise.

    Attributes
    ----------
    psnr_db : float
        Mean, after an affine fit to the truth.
    psnr_low_db, psnr_high_db : float
        16 % and 84 % of objects lie below.
    line : float, optional
        Probability that a bright gap of the width asked for shows along its length.
    """

    psnr_db: float
    psnr_low_db: float
    psnr_high_db: float
    line: float | None


@dataclass(frozen=True, eq=False)
class PlanningTable:
    """The table of one size and one kind of masks.

    Attributes
    ----------
    size : int
        Pixels per side n.
    masks : {"perfect", "none", "reference"}
    counts : tuple of int
        Numbers of patterns.
    noise_db : ndarray, shape (L,)
        -20 log10 of a coefficient's sigma as a share of the open beam, rising: the last has the least noise.
    values : mapping of str to ndarray, shape (counts, L, 6)
        For each order: PSNR (mean, 16 %, 84 %; dB), probability that a line shows (1, 2, 3 px wide).
    """

    size: int
    masks: Masks
    counts: tuple[int, ...]
    noise_db: Array
    values: Mapping[str, Array]

    @property
    def orders(self) -> tuple[str, ...]:
        """Orders that the table knows."""
        return tuple(self.values)

    def expect(self, order: str, count: int, noise_db: float, line_px: float | None = None) -> Expected:
        """Interpolate to a noise; beyond the last row of the least noise, that row.

        Parameters
        ----------
        order : str
            One of `orders`.
        count : int
            One of `counts`.
        noise_db : float
            Not below the first of the table's.
        line_px : float, optional
            Width of a line (px), 1 or more; one wider than 3 is taken for one of 3.
        """
        from scipy.interpolate import PchipInterpolator  # rises where its points do

        rows = self.values[order][self.counts.index(count)]
        at = min(max(noise_db, float(self.noise_db[0])), float(self.noise_db[-1]))
        mean, low, high, *lines = (float(value) for value in PchipInterpolator(self.noise_db, rows, axis=0)(at))
        line = None if line_px is None else float(np.interp(line_px, LINE_WIDTHS_PX, lines))
        return Expected(mean, low, high, line)


def table_sizes(masks: Masks) -> tuple[int, ...]:
    """Sizes that the shipped table knows for a kind of masks."""
    return tuple(sorted({size for size, kind in _load()[1] if kind == masks}))


def planning_table(size: int, masks: Masks) -> PlanningTable:
    """The shipped table of a size and a kind of masks.

    Parameters
    ----------
    size : int
        Pixels per side n, among `table_sizes`.
    masks : {"perfect", "none", "reference"}
        What is known of the masks.
    """
    return _load()[1][size, masks]


def table_facts() -> Mapping[str, Any]:
    """How the shipped table was made: seeds, numbers of scans, sha256 of the network's weights."""
    return _load()[0]


@lru_cache(maxsize=1)
def _load() -> tuple[dict[str, Any], dict[tuple[int, Masks], PlanningTable]]:
    text = resources.files(__package__).joinpath("data", "planning_table.csv").read_text(encoding="utf-8")
    first, _, rest = text.partition("\n")
    return json.loads(first.removeprefix("#")), build_tables(csv.DictReader(rest.splitlines()))


def build_tables(rows: Iterable[Mapping[str, Any]]) -> dict[tuple[int, Masks], PlanningTable]:
    """Tables by size and masks, from rows with the columns `COLUMNS`, sorted by patterns and noise."""
    groups: dict[tuple[int, Masks], dict[str, list[list[float]]]] = {}
    for row in rows:
        orders = groups.setdefault((int(row["size"]), row["masks"]), {})
        orders.setdefault(row["order"], []).append([float(row[name]) for name in COLUMNS[3:]])
    return {key: _build_table(*key, orders) for key, orders in groups.items()}


def _build_table(size: int, masks: Masks, orders: Mapping[str, list[list[float]]]) -> PlanningTable:
    arrays = {order: np.array(rows) for order, rows in orders.items()}
    first = next(iter(arrays.values()))
    counts, noise_db = np.unique(first[:, 0]), np.unique(first[:, 1])
    shape = (len(counts), len(noise_db), _VALUES)
    values = {order: rows[:, 2:].reshape(shape) for order, rows in arrays.items()}
    return PlanningTable(size, masks, tuple(int(count) for count in counts), noise_db, values)
