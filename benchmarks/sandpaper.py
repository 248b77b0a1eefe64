"""Time of a sandpaper recording and scan, and the CNR against exposures, as one JSON object.

    python -m benchmarks.sandpaper --count 10000 [--plan]

Without --plan the simulation is scanned directly; with it, by the plans in a RunEngine over simulated devices.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from benchmarks._timing import report
from cxgi_bluesky.devices.simulated.sandpaper import SimulatedSpeckleBeamline, simulated_speckle_beamline
from cxgi_bluesky.masks.speckle_set import SpeckleSet
from cxgi_bluesky.measurement.exposures import Exposures
from cxgi_bluesky.measurement.speckle import SpeckleMeasurement
from cxgi_bluesky.reconstruction.methods.speckle import cnr_curve
from cxgi_bluesky.simulation.scans import record_sandpaper, scan_sandpaper

COUNTS = (128, 300, 512, 1024, 2048, 5000, 10000)


@contextmanager
def timed(seconds: dict[str, float], name: str) -> Iterator[None]:
    started, worked = time.perf_counter(), time.process_time()
    yield
    seconds[name] = round(time.perf_counter() - started, 2)
    seconds[f"{name}, processor"] = round(time.process_time() - worked, 2)


def record_by_plan(line: SimulatedSpeckleBeamline, path: Path) -> SpeckleSet:
    from bluesky import RunEngine

    from cxgi_bluesky.plans import record_speckles

    plan = record_speckles(
        line.stage, line.shutter, line.camera, path=path, exposure_s=10.0, object_stage=line.object_stage
    )
    RunEngine({})(plan)
    return line.camera.recorded


def scan_by_plan(line: SimulatedSpeckleBeamline, speckles: SpeckleSet) -> Exposures:
    from bluesky import RunEngine

    from cxgi_bluesky.plans import mask_scan

    exposures, engine = Exposures(), RunEngine({})
    devices = line.stage, line.shutter, line.diode
    plan = mask_scan(*devices, board=line.board, pattern_set=speckles, exposure_s=1.0, object_stage=line.object_stage)
    engine(plan, exposures)
    return exposures


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--count", type=int, default=10000)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--plan", action="store_true")
    options = parser.parse_args()
    line = simulated_speckle_beamline(options.count, seed=options.seed)
    seconds: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "sandpaper.h5"
        with timed(seconds, "record"):
            speckles = record_by_plan(line, path) if options.plan else record_sandpaper(line.simulation, path)
        with timed(seconds, "scan"):
            exposures = scan_by_plan(line, speckles) if options.plan else scan_sandpaper(line.simulation, speckles)
        with timed(seconds, "calibrate"):
            measurement = SpeckleMeasurement.from_exposures(exposures, speckles)
        counts = [m for m in COUNTS if m <= len(measurement)]
        curves = {}
        for form in ("GI", "DGI", "NGI"):
            with timed(seconds, f"curve {form}"):
                curves[form] = cnr_curve(measurement, line.simulation.truth, counts, form=form)
    results = {"count": options.count, "seed": options.seed, "by_plan": options.plan, "seconds": seconds, "cnr": curves}
    report("sandpaper", results)


if __name__ == "__main__":
    main()
