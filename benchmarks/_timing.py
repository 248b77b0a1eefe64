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
