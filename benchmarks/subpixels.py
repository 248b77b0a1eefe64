"""Whether the simulated numbers depend on its sub-pixels: the same scan at 2, 4, 8 and 16 per mask pixel.

The same board, stage errors and noise each time. Buckets: rms difference from those of the finest, relative
to their spread. CNR of `correlation` and `tv` against the true transmission on mask pixels.
"""

from __future__ import annotations

import argparse
import os
import tempfile
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks._timing import report
from cxgi_bluesky.analysis.metrics import cnr
from cxgi_bluesky.masks.board import load_board
from cxgi_bluesky.masks.pattern_set import PatternSet
from cxgi_bluesky.reconstruction.api import reconstruct
from cxgi_bluesky.simulation.beamline import BeamlineSimulation, simulation_parameters
from cxgi_bluesky.simulation.objects.registry import render_object
from cxgi_bluesky.simulation.scans import scan_simulation

CASES = {"cu32": "CAS", "au64": "gold"}


def scan(board_name: str, object_name: str, subpixels: int, count: int, etched: bool) -> dict[str, Any]:
    board = load_board(board_name)
    parameters = replace(simulation_parameters(board, etched=etched), subpixels=subpixels)
    simulation = BeamlineSimulation(board, render_object(object_name, board.size, subpixels), parameters, seed=1)
    m = scan_simulation(simulation, PatternSet(board.size, count))
    scores = {method: cnr(reconstruct(m, method=method).image, simulation.truth) for method in ("correlation", "tv")}
    return {"coefficient": m.coefficient, "cnr": scores}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=256)
    parser.add_argument("--subpixels", type=int, nargs="+", default=[2, 4, 8, 16])
    parser.add_argument("--boards", nargs="+", default=list(CASES))
    options = parser.parse_args()
    results: dict[str, Any] = {"count": options.count}
    with tempfile.TemporaryDirectory() as folder:
        os.environ["CXGI_CACHE"] = folder
        for board_name in options.boards:
            for etched in (False, True):
                scans = {s: scan(board_name, CASES[board_name], s, options.count, etched) for s in options.subpixels}
                finest = scans[max(scans)]["coefficient"]
                results[f"{board_name}, {'etched' if etched else 'perfect'}"] = {
                    s: {
                        "bucket_rms_over_spread": float(f"{np.std(r['coefficient'] - finest) / np.std(finest):.2g}"),
                        "cnr": {name: round(value, 4) for name, value in r["cnr"].items()},
                    }
                    for s, r in scans.items()
                }
    report("subpixels", results)


if __name__ == "__main__":
    main()
