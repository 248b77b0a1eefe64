"""Time and memory of a simulated scan on etched tiles: drawn for the first time, and from the cache.

Each scan runs in a process of its own; the first starts with an empty cache folder. Baseline: the
same scan of a board without defects.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from benchmarks._timing import report
from cxgi_bluesky.masks.board import load_board
from cxgi_bluesky.masks.pattern_set import PatternSet
from cxgi_bluesky.simulation.beamline import BeamlineSimulation, simulation_parameters
from cxgi_bluesky.simulation.objects.registry import render_object
from cxgi_bluesky.simulation.scans import scan_simulation


def one_scan(board_name: str, count: int, etched: bool) -> None:
    """Scan and print seconds and peak memory."""
    board = load_board(board_name)
    started = time.perf_counter()
    parameters = replace(simulation_parameters(board, etched=etched), subpixels=4)
    simulation = BeamlineSimulation(board, render_object("gold", board.size, 4), parameters, seed=0)
    scan_simulation(simulation, PatternSet(board.size, count))
    seconds = time.perf_counter() - started
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"seconds": round(seconds, 2), "peak_mb": round(peak_mb)}))


def in_own_process(cache: str, *arguments: str) -> dict[str, float]:
    command = [sys.executable, "-m", "benchmarks.simulated_scan", "--one", *arguments]
    done = subprocess.run(command, env={**os.environ, "CXGI_CACHE": cache}, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--board", default="au64")
    parser.add_argument("--count", type=int, default=768)
    parser.add_argument("--one", action="store_true", help=argparse.SUPPRESS)
    parser.add_argument("--perfect", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        return one_scan(options.board, options.count, not options.perfect)
    words = ("--board", options.board, "--count", str(options.count))
    with tempfile.TemporaryDirectory() as cache:
        results = {
            "first": in_own_process(cache, *words),
            "cached": in_own_process(cache, *words),
            "without_defects": in_own_process(cache, *words, "--perfect"),
        }
        on_disk = sum(f.stat().st_blocks * 512 for f in Path(cache).iterdir())
    report("simulated_scan", {**vars(options), **results, "cache_mb": round(on_disk / 2**20)})
    return None


if __name__ == "__main__":
    main()
