"""Start-up: importing the package, the command line's help, and a whole demo with its peak memory."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
from typing import Any

import numpy as np

from benchmarks._timing import report


def run(*arguments: str, folder: str) -> tuple[float, float]:
    """Wall seconds and peak resident memory (MB) of one process."""
    environment = {**os.environ, "CXGI_DATA": folder, "MPLBACKEND": "Agg"}
    started = time.perf_counter()
    process = subprocess.Popen(
        [sys.executable, *arguments], env=environment, cwd=folder, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    _, status, usage = os.wait4(process.pid, 0)
    if status:
        raise RuntimeError(f"{' '.join(arguments)} ended with status {status}")
    return time.perf_counter() - started, usage.ru_maxrss / 1024


def several(*arguments: str, folder: str, repeats: int) -> dict[str, float]:
    runs = np.array([run(*arguments, folder=folder) for _ in range(repeats)])
    return {"seconds_median": round(float(np.median(runs[:, 0])), 3), "peak_mb": round(float(runs[:, 1].max()), 1)}


def main() -> None:
    results: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder:
        results["baseline: import numpy"] = several("-c", "import numpy", folder=folder, repeats=7)
        results["import cxgi_bluesky"] = several("-c", "import cxgi_bluesky", folder=folder, repeats=7)
        results["cxgi --help"] = several("-m", "cxgi_bluesky.cli", "--help", folder=folder, repeats=7)
        demo = ("-m", "cxgi_bluesky.cli", "demo", "--out", "out")
        results["demo, first"] = several(*demo, folder=folder, repeats=1)
        results["demo, again"] = several(*demo, folder=folder, repeats=2)
    baseline = results["baseline: import numpy"]["seconds_median"]
    results["help_over_numpy"] = round(results["cxgi --help"]["seconds_median"] / baseline, 2)
    report("start_up", results)


if __name__ == "__main__":
    main()
