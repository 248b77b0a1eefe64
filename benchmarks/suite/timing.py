"""Repeated timing, and one thread for everything that is timed."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np

THREAD_VARIABLES = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")
BUDGET_S = 1.5
_REPEATS = (3, 30)  # at least, at most


def milliseconds(function: Callable[[], Any], *, budget_s: float = BUDGET_S) -> dict[str, float]:
    """Median, minimum and maximum (ms) of 3 to 30 runs after one warm-up, about `budget_s` in all."""
    first = _seconds(function)
    repeats = int(np.clip(budget_s / max(first, 1e-9), *_REPEATS))
    times = [_seconds(function) * 1e3 for _ in range(repeats)]
    return {"ms": float(np.median(times)), "min_ms": min(times), "max_ms": max(times), "repeats": repeats}


def _seconds(function: Callable[[], Any]) -> float:
    started = time.perf_counter()
    function()
    return time.perf_counter() - started


@contextmanager
def one_thread() -> Iterator[None]:
    """Numerical libraries, loaded or not yet, and child processes use one thread."""
    from threadpoolctl import threadpool_limits

    earlier = {name: os.environ.get(name) for name in THREAD_VARIABLES}
    os.environ.update(dict.fromkeys(THREAD_VARIABLES, "1"))
    torch = sys.modules.get("torch")
    torch_threads = torch.get_num_threads() if torch is not None else None
    if torch is not None:
        torch.set_num_threads(1)
    try:
        with threadpool_limits(limits=1):
            yield
    finally:
        for name, value in earlier.items():
            os.environ.pop(name, None) if value is None else os.environ.__setitem__(name, value)
        if torch is not None:
            torch.set_num_threads(torch_threads)
