"""All scans of the reproduction, spread over processes, and what comes of them."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Executor, Future, ProcessPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import get_context
from typing import Any

from benchmarks.paper import curves, paper, resolution, rows, sandpaper
from benchmarks.paper.training_seen import training_seen
from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.masks.board import load_board
from cxgi_bluesky.simulation.materials import parse_mask, predict_d_r
from cxgi_bluesky.simulation.spectrum import tube_spectrum

FIGURES = ("fig2", "fig3", "fig4")
COPPER_OBJECTS = ("CAS", "gear", "gear-aperture", "gear:diameter_px=26", "gear-aperture:diameter_px=26")
HADAMARD_CURVES = ("cu_board", "perfect_board", "defects_only", "noise_only", "insensitive_detector")
_ONE_THREAD = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS")

Echo = Callable[[str], None]


@dataclass(frozen=True)
class Job:
    """One piece of work: a function of this package for one seed."""

    figure: str
    name: str
    seed: int
    function: Callable[..., Any]
    arguments: tuple[Any, ...]


def jobs_of(figures: Iterable[str], seeds: int) -> list[Job]:
    """The work for some figures, longest first."""
    jobs = []
    for seed in range(seeds):
        if "fig2" in figures:
            jobs.append(Job("fig2", "sandpaper", seed, sandpaper.sandpaper_curve, (seed,)))
            jobs += [Job("fig2", case, seed, curves.hadamard_curve, (case, seed)) for case in HADAMARD_CURVES]
        if "fig3" in figures:
            jobs.append(Job("fig3", "objects", seed, rows.measure_objects, ("cu32", COPPER_OBJECTS, seed)))
        if "fig4" in figures:
            jobs += [
                Job("fig4", gold_scan(exposure_s), seed, rows.measure_objects, ("au64", ("gold",), seed, exposure_s))
                for exposure_s in paper.GOLD_EXPOSURES_S
            ]
            jobs.append(Job("fig4", "resolution", seed, resolution.measure_resolution, (seed,)))
    return sorted(jobs, key=lambda job: not job.name.startswith(("sandpaper", "objects")))


def gold_scan(exposure_s: float) -> str:
    """Name of the job that scans the gold object with this exposure time (s)."""
    return f"objects, {exposure_s:g} s"


def run_jobs(jobs: list[Job], *, processes: int, echo: Echo) -> dict[tuple[str, str, int], Any]:
    """Results by (figure, name, seed); progress is said as they come."""
    started, results = time.monotonic(), {}
    with _executor(processes) as executor:
        pending: dict[Future[Any], Job] = {executor.submit(job.function, *job.arguments): job for job in jobs}
        while pending:
            done, _ = wait(pending, return_when=FIRST_COMPLETED)
            for future in done:
                job = pending.pop(future)
                results[job.figure, job.name, job.seed] = future.result()
                minutes = (time.monotonic() - started) / 60
                echo(f"[{len(results)}/{len(jobs)}, {minutes:.1f} min] {job.figure}: {job.name}, seed {job.seed}")
    return results


@contextmanager
def _executor(processes: int) -> Iterator[Executor]:
    """Fresh processes with one thread each: scans and reconstructions gain nothing from more."""
    before = {name: os.environ.get(name) for name in _ONE_THREAD}
    os.environ.update(dict.fromkeys(_ONE_THREAD, "1"))
    executor = ProcessPoolExecutor(processes, mp_context=get_context("spawn"))
    try:
        yield executor
    finally:
        executor.shutdown(cancel_futures=True)
        for name, value in before.items():
            if value is None:
                os.environ.pop(name)
            else:
                os.environ[name] = value


def check_request(figures: Iterable[str], seeds: int, processes: int) -> tuple[str, ...]:
    """The figures to make, each once, all if none is named; `CxgiError` for impossible numbers."""
    chosen = tuple(dict.fromkeys(figures)) or FIGURES
    for figure in chosen:
        if figure not in FIGURES:
            raise CxgiError(f"figure {figure!r} is unknown: choose of {', '.join(FIGURES)}")
    for name, value in (("seeds", seeds), ("processes", processes)):
        if value < 1:
            raise CxgiError(f"{name} {value}: give at least 1")
    return chosen


def numbers_of(results: Mapping[tuple[str, str, int], Any], figures: Iterable[str], seeds: int) -> dict[str, Any]:
    """Everything that is a number, as plain values (see the JSON of ``python -m benchmarks.paper``)."""
    numbers: dict[str, Any] = {"seeds": seeds, "network_training": training_seen().sentence()}
    every = range(seeds)
    if "fig2" in figures:
        made = {
            case: curves.summary([results["fig2", case, seed][0] for seed in every], curves.EXPOSURES)
            for case in HADAMARD_CURVES
        }
        made["sandpaper"] = curves.summary(
            [results["fig2", "sandpaper", seed][0] for seed in every], curves.SANDPAPER_EXPOSURES
        )
        peaks = {name: curve["exposures"][_argmax(curve["cnr_mean"])] for name, curve in made.items()}
        ratios = curves.sandpaper_ratio(made["cu_board"], made["sandpaper"])
        numbers["fig2"] = {"curves": made, "peak_exposures": peaks, "sandpaper_over_hadamard": ratios}
    for figure, board, scans in (
        ("fig3", "cu32", ["objects"]),
        ("fig4", "au64", [gold_scan(exposure_s) for exposure_s in paper.GOLD_EXPOSURES_S]),
    ):
        if figure in figures:
            found = [results[figure, name, seed] for name in scans for seed in every]
            scores = [score for objects in found for result in objects.values() for score in result.scores]
            d_r = [next(iter(objects.values())).d_r[0] for objects in found[:seeds]]
            numbers[figure] = {
                "rows": rows.table_rows(scores),
                "d_r": {
                    "board": board,
                    "paper": paper.D_R[board],
                    "measured_mean": sum(d_r) / seeds,
                    "measured": d_r,
                    **_prediction(board),
                },
            }
    if "fig4" in figures:
        numbers["fig4"]["resolution"] = resolution.summary([results["fig4", "resolution", seed] for seed in every])
    return numbers


def _prediction(board: str) -> dict[str, Any]:
    """D_r that metal, substrate and a tube predict; None where the package of tube spectra is not installed."""
    metal, substrate = parse_mask(load_board(board).metal)
    anode, kv = paper.LIKELY_TUBE
    try:
        spectrum = tube_spectrum(anode, kv)
    except CxgiError:
        return {"predicted": None, "predicted_from": f"{anode} tube at {kv:g} kV"}
    predicted = predict_d_r(metal.material, metal.thickness_um, spectrum, substrate=substrate)
    return {"predicted": predicted, "predicted_from": spectrum.name}


def _argmax(values: list[float]) -> int:
    return max(range(len(values)), key=values.__getitem__)
