"""Image quality of every method on the anchor workload, for several orders and noise levels."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.suite import workload
from benchmarks.suite.scores import Scores, mean_scores, scale_to_truth, score
from benchmarks.suite.specs import BASELINE, Spec
from cxgi_bluesky.errors import CxgiError

Note = Callable[[str], None]


def quality(
    specs: Sequence[Spec],
    orders: Sequence[str],
    *,
    seeds: int = 5,
    snr_db: Sequence[float] = workload.SNR_DB,
    fraction: float = workload.FRACTION,
    note: Note = lambda text: None,
) -> dict[str, Any]:
    """One row per order, noise level and method.

    Parameters
    ----------
    specs : sequence of Spec
        The baseline among them.
    orders : sequence of str
    seeds : int
        Seeds 0, 1, ... of the noise; a seeded order is drawn anew with each.
    snr_db : sequence of float
    fraction : float
        Sampling fraction.
    note : callable
        Told what is being measured.

    Returns
    -------
    dict
        `workload`, `baseline`, `rows` (psnr_db, ssim, cas_cnr, gain_db over the baseline of the same
        order and noise, median ms) and `left_out` with the reason for each row that is missing.

    Raises
    ------
    CxgiError
        If there is not at least one seed.
    """
    if seeds < 1:
        raise CxgiError(f"{seeds} seeds: give at least 1")
    rows: list[dict[str, Any]] = []
    left_out: list[dict[str, Any]] = []
    for order in orders:
        for level in snr_db:
            note(f"quality: {order}, {level:g} dB")
            words = {"order": order, "snr_db": level}
            part = []
            for spec in specs:
                try:
                    part.append({**words, "method": spec.name, **_row(spec, order, level, seeds, fraction)})
                except CxgiError as error:
                    left_out.append({**words, "method": spec.name, "why": str(error)})
            rows += with_gain(part)
    words = {"size": workload.SIZE, "fraction": fraction, "objects": list(workload.OBJECTS), "seeds": seeds}
    return {"workload": words, "baseline": BASELINE, "rows": rows, "left_out": left_out}


def _row(spec: Spec, order: str, snr_db: float, seeds: int, fraction: float) -> dict[str, Any]:
    scores: dict[str, list[Scores]] = {}
    seconds, fitted = [], False
    for name, truth in workload.truths().items():
        scores[name] = []
        for seed in range(seeds):
            patterns = workload.pattern_set(order, seed, fraction=fraction)
            made = spec(workload.measure(truth, patterns, snr_db=snr_db, seed=seed))
            scores[name].append(score(scale_to_truth(made, truth), truth))
            seconds.append(made.seconds)
            fitted = fitted or made.scale == "relative"
    return {**mean_scores(scores), "ms": float(np.median(seconds)) * 1e3, "fitted": fitted}


def with_gain(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with `gain_db` over the baseline's row among them."""
    base = next((row["psnr_db"] for row in rows if row["method"] == BASELINE), None)
    return [{**row, "gain_db": None if base is None else row["psnr_db"] - base} for row in rows]
