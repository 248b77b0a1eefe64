"""The anchor workload, five images of 64 x 64: every method from the same noisy coefficients."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from benchmarks.peers.published.folder import NotGiven
from benchmarks.peers.published.methods import BY_PATTERNS, ORDERS, Given, Method
from benchmarks.suite import workload
from benchmarks.suite.scores import Scores, mean_scores, score

FRACTION = workload.FRACTION
LEVELS = workload.SNR_DB
Row = dict[str, Any]


def anchor_rows(methods: Sequence[str], given: Given, seeds: int, note: Callable[[str], None]) -> list[Row]:
    """Scores of every method that takes coefficients, order and noise; one without its files has the reason (`why`)."""
    rows = []
    for order in ORDERS:
        for level in LEVELS:
            for name in methods:
                if name not in BY_PATTERNS:
                    continue
                note(f"anchor workload, {order}, {level:g} dB: {name}")
                row: Row = {"order": order, "snr_db": level, "method": name}
                try:
                    row |= _scores(given.by_patterns(name, level, FRACTION, order), order, level, seeds)
                except NotGiven as error:
                    row["why"] = str(error)
                rows.append(row)
    return rows


def _scores(method: Method, order: str, level: float, seeds: int) -> Row:
    """Means over seeds and images; the first measurement is run once before, to warm up."""
    scores: dict[str, list[Scores]] = {}
    seconds: list[float] = []
    for seed in range(seeds):
        patterns = workload.pattern_set(order, seed)
        for name, truth in workload.truths().items():
            measurement = workload.measure(truth, patterns, snr_db=level, seed=seed)
            if not seconds:
                method(measurement)
            started = time.process_time()
            image = method(measurement)
            seconds.append(time.process_time() - started)
            scores.setdefault(name, []).append(score(image, truth))
    return {**mean_scores(scores), "s_per_image": float(np.median(seconds))}
