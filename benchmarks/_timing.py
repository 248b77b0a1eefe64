"""Helpers of the benchmarks: repeated timing and one JSON object on stdout."""

from __future__ import annotations

import json
import platform
import time
from collections.abc import Callable
from typing import Any

import numpy as np


def milliseconds(function: Callable[[], Any], repeats: int = 30) -> dict[str, float]:
    """Median, minimum and maximum of a few runs after one warm-up."""
    function()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        function()
        times.append((time.perf_counter() - started) * 1e3)
    return {"median": round(float(np.median(times)), 4), "min": round(min(times), 4), "max": round(max(times), 4)}


def report(name: str, results: dict[str, Any]) -> None:
    """Print the one JSON object."""
    from cxgi_bluesky import __version__

    machine = {"python": platform.python_version(), "machine": platform.machine(), "cxgi_bluesky": __version__}
    print(json.dumps({"benchmark": name, **machine, **results}, indent=1))


class Clock:
    """Calls a callback and keeps the time of each event."""

    def __init__(self, callback: Any) -> None:
        self.callback = callback
        self.ms: list[float] = []

    def __call__(self, name: str, document: Any) -> None:
        started = time.perf_counter()
        self.callback(name, document)
        if name == "event":
            self.ms.append((time.perf_counter() - started) * 1e3)

    def summary(self) -> dict[str, float]:
        values = np.array(self.ms)
        figures = {
            "mean": values.mean(),
            "median": np.median(values),
            "p99": np.percentile(values, 99),
            "max": values.max(),
        }
        return {name: round(float(value), 4) for name, value in figures.items()}
