"""Measured files: a short scan against the full inverse of the same file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.suite.comparison import NETWORK, RIVAL
from benchmarks.suite.image_quality import with_gain
from benchmarks.suite.specs import BASELINE, Spec
from benchmarks.suite.workload import FRACTION, pattern_set
from cxgi_bluesky.analysis.metrics import affine_fit, psnr
from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.masks.orders import SEEDED
from cxgi_bluesky.measurement.measurement import Measurement
from cxgi_bluesky.reconstruction.api import reconstruct

FILE_SIZE = 32
WANTED_MEAN_DB, WANTED_WORST_DB = 0.3, -0.2  # of the network less `RIVAL`: in the mean, and on any file


def list_measured(folder: str | Path) -> list[Path]:
    """Files of a folder of measurements; `CxgiError` if it has none."""
    files = sorted(Path(folder).glob("*.csv"))
    if not files:
        raise CxgiError(f"folder {folder} holds no CSV file: give --measured a folder of 32 x 32 files")
    return files


def measured(
    folder: str | Path,
    specs: Sequence[Spec],
    orders: Sequence[str],
    *,
    seeds: int = 5,
    note: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """PSNR at 18.75 % against the file's own full inverse, after an affine fit, range of the latter.

    Parameters
    ----------
    folder : str or Path
        CSV files ``pattern_index,bucket`` with all 1024 signed 32 x 32 patterns.
    specs : sequence of Spec
        The baseline among them.
    orders : sequence of str
    seeds : int
        How many draws of a seeded order are averaged; other orders have one.

    Raises
    ------
    CxgiError
        If the folder has no such file, or one is not complete.
    """
    files = list_measured(folder)
    rows: list[dict[str, Any]] = []
    left_out: list[dict[str, Any]] = []
    for file in files:
        full = _full(file)
        for order in orders:
            note(f"measured: {file.stem}, {order}")
            part = []
            for spec in specs:
                words = {"file": file.stem, "order": order, "method": spec.name}
                try:
                    part.append({**words, "psnr_db": _psnr(spec, full, order, seeds)})
                except CxgiError as error:
                    left_out.append({**words, "why": str(error)})
            rows += with_gain(part)
    return {
        "workload": {"size": FILE_SIZE, "fraction": FRACTION, "files": [file.stem for file in files]},
        "baseline": BASELINE,
        "rows": rows,
        "mean": _means(rows),
        "network_minus_tv": network_minus_tv(rows),
        "left_out": left_out,
    }


def _full(file: Path) -> Measurement:
    full = Measurement.from_csv(file, size=FILE_SIZE, coding="signed")
    if len(full) != FILE_SIZE**2:
        raise CxgiError(f"{file} has {len(full)} of {FILE_SIZE**2} patterns: the full inverse needs all of them")
    return full


def _psnr(spec: Spec, full: Measurement, order: str, seeds: int) -> float:
    reference = reconstruct(full, method=BASELINE).image
    draws = range(seeds if order in SEEDED else 1)
    parts = (full.subset(pattern_set(order, seed, size=FILE_SIZE)) for seed in draws)
    return float(np.mean([psnr(affine_fit(spec(part).image, reference), reference) for part in parts]))


def _means(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """Mean over the files of each order and method."""
    groups: dict[tuple[str, str], list[dict[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["order"], row["method"]), []).append(row)
    return [
        {"order": order, "method": method, **{key: float(np.mean([r[key] for r in group])) for key in _MEANS}}
        for (order, method), group in groups.items()
        if all(r["gain_db"] is not None for r in group)
    ]


def network_minus_tv(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """PSNR of the network less that of `RIVAL` (dB) in each order: each file, mean, worst, and whether as wanted."""
    scores = {(row["order"], row["file"], row["method"]): row["psnr_db"] for row in rows}
    made = []
    for order in dict.fromkeys(row["order"] for row in rows):
        each = {
            file: scores[order, file, NETWORK] - scores[order, file, RIVAL]
            for file in dict.fromkeys(row["file"] for row in rows)
            if (order, file, NETWORK) in scores and (order, file, RIVAL) in scores
        }
        if each:
            mean, worst = float(np.mean(list(each.values()))), min(each, key=each.__getitem__)
            as_wanted = mean >= WANTED_MEAN_DB and each[worst] >= WANTED_WORST_DB
            words = {"order": order, "each": each, "mean_db": mean, "worst": worst, "worst_db": each[worst]}
            made.append({**words, "as_wanted": as_wanted})
    return made


_MEANS = ("psnr_db", "gain_db")
