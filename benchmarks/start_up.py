"""Start-up: importing the package, the command line's help, a whole demo with its peak memory, and the first line.

``python -m benchmarks.start_up runs [COUNT ...] [--in FOLDER]`` measures the first line alone: `cxgi runs` and `cxgi
show` from the index of runs, beside the same through Tiled as the baseline, with 10, 100, 1000 and 10,000 runs (or
COUNT) of 40 exposures (one stored for each size, the others copies of its rows); and the time from `session.start` to
the prompt, beside the time until its catalog is open. FOLDER is filled, and kept for the next time.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._copies import copy_run
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


# ---------------------------------------------------------------- the first line

SIZES = (10, 100, 1000, 10_000)
THROUGH_TILED = """
import sys
from cxgi_bluesky.catalog import describe, find_named_run, open_catalog, summarise
catalog = open_catalog()
if sys.argv[1] == "runs":
    print(*(summarise(run) for run in catalog.values().tail(50)), len(catalog), sep="\\n")
else:
    print(describe(catalog, find_named_run(catalog, "last")))
"""
START = """
import time
began = time.perf_counter()
from cxgi_bluesky import session
imported = time.perf_counter()
s = session.start()
prompt = time.perf_counter()
s.catalog
print(imported - began, prompt - imported, time.perf_counter() - prompt)
"""


def sizes_and_folder(arguments: Sequence[str], sizes: Sequence[int]) -> tuple[list[int], AbstractContextManager[str]]:
    """The numbers of runs to measure, and the folder that is filled for it: a given one is kept."""
    parser = argparse.ArgumentParser()
    parser.add_argument("counts", type=int, nargs="*", default=list(sizes))
    parser.add_argument("--in", dest="folder")
    options = parser.parse_args(arguments)
    if options.folder is None:
        return options.counts, tempfile.TemporaryDirectory()
    Path(options.folder).mkdir(parents=True, exist_ok=True)
    return options.counts, nullcontext(str(Path(options.folder).resolve()))


def fill(folder: str, count: int) -> None:
    """Have so many runs in a folder: new ones are of 40 exposures, one through the catalog's writer, and its copies."""
    from cxgi_bluesky.catalog import list_runs

    missing = count - (list_runs(folder)[1] if (Path(folder) / "catalog.db").exists() else 0)
    if missing <= 0:
        return
    in_process(store_scan, folder)
    in_process(copy_run, folder, (Path(folder) / "scan").read_text(), missing - 1)
    several("-m", "cxgi_bluesky.cli", "runs", "--rebuild", folder=folder, repeats=1)
    there = list_runs(folder)[1]
    if there != count:
        raise RuntimeError(f"{folder} has {there} runs instead of {count}")


def store_scan(folder: str) -> None:
    """Store a run of 40 exposures through the catalog's writer."""
    from bluesky import RunEngine

    from cxgi_bluesky.catalog import open_catalog, writer_of
    from cxgi_bluesky.devices.simulated.beamline import simulated_beamline
    from cxgi_bluesky.masks.pattern_set import PatternSet
    from cxgi_bluesky.plans import hadamard_scan

    documents: list[Any] = []
    line = simulated_beamline("cu32", "CAS")
    engine = RunEngine({})
    engine.subscribe(lambda name, document: documents.append([name, document]))
    devices = line.stage, line.shutter, line.diode
    engine(hadamard_scan(*devices, board=line.board, pattern_set=PatternSet(32, 40), exposure_s=1.0))
    plain = json.loads(json.dumps(documents, default=lambda value: value.tolist()))
    writer_of(open_catalog(folder, to_write=True)).write_runs([plain])
    (Path(folder) / "scan").write_text(plain[0][1]["uid"])


def in_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """What a function returns in a process of its own, so that nobody has the folder open afterwards."""
    with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as process:
        return process.submit(function, *arguments).result()


def first_line(sizes: Sequence[int], place: AbstractContextManager[str], repeats: int = 3) -> dict[str, Any]:
    results: dict[str, Any] = {}
    with place as folder:
        for count in sizes:
            fill(folder, count)
            results[f"{count} runs"] = {
                "cxgi runs": several("-m", "cxgi_bluesky.cli", "runs", folder=folder, repeats=repeats),
                "cxgi show": several("-m", "cxgi_bluesky.cli", "show", "last", folder=folder, repeats=repeats),
                "baseline: runs, through Tiled": several("-c", THROUGH_TILED, "runs", folder=folder, repeats=repeats),
                "baseline: show, through Tiled": several("-c", THROUGH_TILED, "show", folder=folder, repeats=repeats),
            }
        results[f"index of {sizes[-1]} made anew"] = several(
            "-m", "cxgi_bluesky.cli", "runs", "--rebuild", folder=folder, repeats=1
        )
        output("-c", START, folder=folder)  # the first in a folder asks the catalog for the last scan's number
        starts = np.array(
            [[float(cell) for cell in output("-c", START, folder=folder).split()] for _ in range(repeats)]
        )
        names = ("import", "start to prompt", "prompt to open catalog")
        results["session"] = {
            name: round(float(seconds), 3) for name, seconds in zip(names, np.median(starts, axis=0), strict=True)
        }
    return results


def output(*arguments: str, folder: str) -> str:
    environment = {**os.environ, "CXGI_DATA": folder, "MPLBACKEND": "Agg"}
    return subprocess.run(
        [sys.executable, *arguments], env=environment, cwd=folder, check=True, capture_output=True, text=True
    ).stdout


def main() -> None:
    results: dict[str, Any] = {}
    if sys.argv[1:2] == ["runs"]:
        report("start_up runs", first_line(*sizes_and_folder(sys.argv[2:], SIZES)))
        return
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
