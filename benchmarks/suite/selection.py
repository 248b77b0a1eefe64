"""Which patterns to measure: every order at several sampling fractions, with what it asks of mask and stage."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.suite.image_quality import quality
from benchmarks.suite.masks import demands
from benchmarks.suite.specs import BASELINE, Spec
from benchmarks.suite.workload import SNR_DB, pattern_set
from cxgi_bluesky.masks.board import load_board

FRACTIONS = (0.0625, 0.125, 0.1875, 0.375, 1.0)
BOARD = "au64"


def selection(
    specs: Sequence[Spec], orders: Sequence[str], *, seeds: int = 5, note: Callable[[str], None] = lambda text: None
) -> dict[str, Any]:
    """Rows of `quality` for each fraction, and the demands of each order on the board `au64`.

    Returns
    -------
    dict
        `baseline`, `fractions`, `rows` (those of `quality` with their fraction), `masks` (order,
        fraction and `masks.demands`; of a seeded order for seed 0) and `left_out`.
    """
    board = load_board(BOARD)
    rows: list[dict[str, Any]] = []
    masks: list[dict[str, Any]] = []
    left_out: list[dict[str, Any]] = []
    for fraction in FRACTIONS:
        note(f"selection: {fraction:.2%}")
        part = quality(specs, orders, seeds=seeds, snr_db=SNR_DB, fraction=fraction, note=note)
        rows += [{**row, "fraction": fraction} for row in part["rows"]]
        left_out += [{**row, "fraction": fraction} for row in part["left_out"]]
        for order in orders:
            masks.append(
                {"order": order, "fraction": fraction, **demands(pattern_set(order, 0, fraction=fraction), board)}
            )
    return {
        "baseline": BASELINE,
        "board": BOARD,
        "seeds": seeds,
        "fractions": list(FRACTIONS),
        "rows": rows,
        "masks": masks,
        "left_out": left_out,
    }
