"""What storing a run costs the RunEngine's thread: per event beside TiledWriter, and a whole scan beside the old way.

First a scan with exposures of 0.1 s, in which both are subscribed: `RunStore` (routing, journal, hand-over to the
catalog's writer) and `TiledWriter` at batch 1, into another folder. Then scans without delays, their ends included, in
turn with `RunStore` and with journal and `TiledWriter` in the RunEngine's own thread, as it was done before.
"""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from bluesky import RunEngine

from benchmarks._timing import Clock, report
from cxgi_bluesky.catalog import RunStore, open_catalog, run_writer, writer_of
from cxgi_bluesky.catalog.journal import Journal, journal_folder
from cxgi_bluesky.devices.simulated.beamline import simulated_beamline
from cxgi_bluesky.masks.pattern_set import PatternSet
from cxgi_bluesky.measurement.per_run import PerRun
from cxgi_bluesky.plans import hadamard_scan

EXPOSURES, EXPOSURE_S = 100, 0.1
SCANS, SCAN_EXPOSURES = 7, 256
BATCH_BEFORE = 32


def scan(engine: RunEngine, count: int, time_scale: float) -> float:
    """Seconds of one scan, until the engine returns."""
    line = simulated_beamline("cu32", "CAS", seed=1, time_scale=time_scale)
    pattern_set = PatternSet(32, count)
    devices = (line.stage, line.shutter, line.diode)
    started = time.perf_counter()
    engine(hadamard_scan(*devices, board=line.board, pattern_set=pattern_set, exposure_s=EXPOSURE_S))
    return time.perf_counter() - started


def per_event(ours: Any, theirs: Any) -> dict[str, Any]:
    """Both in the same scan."""
    engine = RunEngine({})
    clocks = {
        "RunStore": Clock(RunStore(writer_of(ours))),
        "TiledWriter, batch 1": Clock(run_writer(theirs, batch_size=1)),
    }
    for clock in clocks.values():
        engine.subscribe(clock)
    scan(engine, EXPOSURES, 1.0)
    return {"events": len(clocks["RunStore"].ms), **{name: clock.summary() for name, clock in clocks.items()}}


def in_the_engines_thread(catalog: Any, folder: Path) -> Callable[[str, Any], None]:
    """Journal, then catalog, as before there was a thread for the catalog."""
    write, journals = (
        run_writer(catalog, batch_size=BATCH_BEFORE),
        PerRun(lambda start: Journal(journal_folder(folder), start)),
    )

    def store(name: str, document: Any) -> None:
        journals(name, document)
        write(name, document)

    return store


def whole_scans(ours: Any, theirs: Any, folder: Path) -> dict[str, Any]:
    """Seconds of scans without delays, one after the other."""
    seconds: dict[str, list[float]] = {"RunStore": [], "in the engine's thread": []}
    for _ in range(SCANS):
        for name in seconds:
            engine = RunEngine({})
            engine.subscribe(RunStore(writer_of(ours)) if name == "RunStore" else in_the_engines_thread(theirs, folder))
            seconds[name].append(scan(engine, SCAN_EXPOSURES, 0.0))
    return {name: round(float(np.median(values)), 3) for name, values in seconds.items()}


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        ours, theirs = (open_catalog(Path(folder) / name, to_write=True) for name in ("ours", "theirs"))
        events = per_event(ours, theirs)
        scans = whole_scans(ours, theirs, Path(folder) / "theirs")
        writer_of(ours).close()
    summary = {
        "exposure_s": EXPOSURE_S,
        "ms_per_event": events,
        "tiled_writer_over_ours": round(events["TiledWriter, batch 1"]["median"] / events["RunStore"]["median"], 1),
        "scan_exposures": SCAN_EXPOSURES,
        "scan_s": scans,
        "scan_ours_over_before": round(scans["RunStore"] / scans["in the engine's thread"], 3),
    }
    report("storing_overhead", summary)


if __name__ == "__main__":
    main()
