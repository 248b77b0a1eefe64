"""What the live callbacks cost the RunEngine's thread, per event, in a real scan.

Every subscriber is wrapped in a clock; waiting for the interpreter lock while the workers compute
is part of what is measured. Beside it: what the images of a growing scan cost with a warm start and from
scratch, at the same tolerance, and how far both are from the converged image.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from bluesky import RunEngine
from bluesky.callbacks import CallbackBase, LiveTable

from benchmarks._timing import Clock, report
from benchmarks.suite.workload import measure, truths
from cxgi_bluesky.callbacks import CheckedImages, LiveCorrelation, LiveView, ScanProgress
from cxgi_bluesky.devices.simulated.beamline import simulated_beamline
from cxgi_bluesky.masks.pattern_set import PatternSet
from cxgi_bluesky.plans import hadamard_scan
from cxgi_bluesky.reconstruction.api import reconstruct
from cxgi_bluesky.reconstruction.methods.tval3 import MultiplierStart
from cxgi_bluesky.reconstruction.solvers.primal_dual import WarmStart


def warm_starts() -> dict[str, Any]:
    """Iterations, time and distance from the converged image, after each 32 patterns from 256 to 768."""
    m = measure(truths()["CAS"], PatternSet(64, 768), snr_db=30.0, seed=0)
    starts: dict[str, tuple[Any, dict[str, Any]]] = {
        "tv": (WarmStart, {"weight": reconstruct(m, method="tv").parameters["weight"]}),
        "tval3": (MultiplierStart, {"tolerance": 1e-4, "iterations": 2000}),
    }
    results: dict[str, Any] = {}
    for method, (start, options) in starts.items():
        cold, warm, state = [], [], start()
        for count in range(256, 769, 32):
            part = m.first(count)
            exact = reconstruct(part, method=method, **{**options, "tolerance": 1e-7, "iterations": 4000}).image
            for rows, more in ((cold, {}), (warm, {"warm": state})):
                picture = reconstruct(part, method=method, **options, **more)
                distance = float(np.sqrt(np.mean((picture.image - exact) ** 2)) / exact.std())
                rows.append((picture.parameters["iterations"], picture.seconds * 1e3, distance))
        of_cold, of_warm = (np.mean(rows[1:], axis=0) for rows in (cold, warm))  # the first is cold in both
        names = ("iterations", "ms", "distance_from_converged")
        results[method] = {
            "cold": dict(zip(names, of_cold.round(4).tolist(), strict=True)),
            "warm": dict(zip(names, of_warm.round(4).tolist(), strict=True)),
            "warm_over_cold_time": round(float(of_warm[1] / of_cold[1]), 3),
        }
    return results


def main() -> None:
    line = simulated_beamline("au64", "gold", seed=1)
    engine = RunEngine({})
    with tempfile.TemporaryDirectory() as folder, open(os.devnull, "w") as nowhere:
        view = LiveView(Path(folder) / "live.png", window=False)
        pictures = [LiveCorrelation(on_image=view.show), CheckedImages("ch-mwcnn", on_image=view.show)]
        clocks = {
            "live_correlation": Clock(pictures[0]),
            "live_ch_mwcnn": Clock(pictures[1]),
            "view": Clock(view),
            "progress": Clock(ScanProgress(nowhere)),
            "bluesky CallbackBase": Clock(CallbackBase()),
            "bluesky LiveTable": Clock(LiveTable(["stage_tile", "diode_current"], out=nowhere.write)),
        }
        for clock in clocks.values():
            engine.subscribe(clock)
        pattern_set = PatternSet(64, 768)
        engine(
            hadamard_scan(
                line.stage, line.shutter, line.diode, board=line.board, pattern_set=pattern_set, exposure_s=1.0
            )
        )
        for picture in pictures:
            picture.wait()
    results = {name: clock.summary() for name, clock in clocks.items()}
    ours = sum(results[name]["mean"] for name in ("live_correlation", "live_ch_mwcnn", "view", "progress"))
    summary = {
        "events": len(clocks["progress"].ms),
        "pictures": {p.method: p.images for p in pictures},
        "ms_per_event": results,
        "all_live_callbacks_mean_ms": round(ours, 4),
        "over_live_table": round(ours / results["bluesky LiveTable"]["mean"], 3),
        "pictures_of_a_growing_scan": warm_starts(),
    }
    report("live_overhead", summary)


if __name__ == "__main__":
    main()
