"""Which order to measure on a board as etching leaves it: CNR of every method on the simulated Au board.

768 of 4096 patterns, defects of the forward model, photon and electrometer noise, stage errors; the source is steady.
Baseline: the zero-filled inverse of the same buckets.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks._timing import report
from cxgi_bluesky.analysis.metrics import cnr
from cxgi_bluesky.masks.board import MaskBoard, load_board
from cxgi_bluesky.masks.pattern_set import PatternSet
from cxgi_bluesky.measurement.measurement import Measurement
from cxgi_bluesky.reconstruction.api import reconstruct
from cxgi_bluesky.reconstruction.registry import METHODS
from cxgi_bluesky.simulation.beamline import BeamlineSimulation, simulation_parameters
from cxgi_bluesky.simulation.objects.registry import render_object
from cxgi_bluesky.simulation.scans import scan_simulation

ORDERS = {
    "cake-cutting": None,
    "zig-zag": None,
    "russian-dolls": None,
    "total-variation": None,
    "learned": None,
    "learned-density": 1,
    "variable-density": 1,
}


def scan(board: MaskBoard, object_name: str, patterns: PatternSet, seed: int) -> tuple[Measurement, np.ndarray]:
    """Buckets of a scan of 1 s exposures, and the true transmission."""
    parameters = simulation_parameters(board, etched=True)
    parameters = replace(parameters, drift_rms=0.0, defects=replace(parameters.defects, seed=seed))
    simulation = BeamlineSimulation(
        board, render_object(object_name, board.size, parameters.subpixels), parameters, seed=seed
    )
    return scan_simulation(simulation, patterns), simulation.truth


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=2, help="each is another board and other noise")
    parser.add_argument("--count", type=int, default=768)
    options = parser.parse_args()
    board = load_board("au64")
    results: dict[str, Any] = {"board": board.name, "patterns": options.count, "seeds": options.seeds}
    for object_name in ("gold", "CAS"):
        for order, order_seed in ORDERS.items():
            patterns = PatternSet(board.size, options.count, order, order_seed)
            scores: dict[str, list[float]] = {method: [] for method in METHODS}
            for seed in range(options.seeds):
                m, truth = scan(board, object_name, patterns, seed)
                for method, values in scores.items():
                    values.append(cnr(reconstruct(m, method=method).image, truth))
            row = {method: [round(v, 2) for v in values] for method, values in scores.items()}
            base = float(np.mean(scores["inverse"]))
            row["tv_over_inverse"] = round(float(np.mean(scores["tv"])) / base, 2)
            results.setdefault(f"CNR of {object_name}", {})[order] = row
    report("imperfect_board", results)


if __name__ == "__main__":
    main()
