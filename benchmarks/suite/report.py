"""One run of the benchmarks, and the one table that is rendered from its results."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.suite.comparison import METHODS
from benchmarks.suite.image_quality import quality
from benchmarks.suite.measured import list_measured, measured
from benchmarks.suite.network import network
from benchmarks.suite.selection import selection
from benchmarks.suite.specs import chosen_orders, chosen_specs
from benchmarks.suite.speed import speed
from benchmarks.suite.timing import one_thread
from cxgi_bluesky.errors import CxgiError

PARTS = ("quality", "measured", "speed")  # "selection" and "network" are asked for by name


def run_bench(
    parts: Sequence[str] = PARTS,
    *,
    seeds: int = 5,
    folder: str | Path | None = None,
    orders: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    weights: str | None = None,
    network_options: Mapping[str, Any] | None = None,
    note: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Run some parts of the benchmark, with one thread.

    Parameters
    ----------
    parts : sequence of {"quality", "measured", "speed", "selection", "network"}
    seeds : int
        Noise seeds.
    folder : str or Path, optional
        Measured 32 x 32 files; needed for "measured".
    orders, methods : sequence of str, optional
        All by default, of "network" those of `network.network`; the zero-filled inverse is always run.
    weights : str, optional
        File of the network's weights; by default the shipped ones.
    network_options : mapping, optional
        Of `network.network`: tables, boards, peer, peer_minutes.
    note : callable
        Told what is being measured.

    Raises
    ------
    CxgiError
        For an unknown method or order, fewer than one seed, a folder that is missing, or weights that cannot be read.
    """
    specs, order_names = chosen_specs(methods, weights), chosen_orders(orders)
    if seeds < 1:
        raise CxgiError(f"{seeds} seeds: give at least 1")
    if "measured" in parts:
        check_folder(folder)
    if weights is not None:
        _check_weights(weights)
    results: dict[str, Any] = {"benchmark": "python -m benchmarks.suite", **machine(), "seeds": seeds, "threads": 1}
    with one_thread():
        if "quality" in parts:
            results["quality"] = quality(specs, order_names, seeds=seeds, note=note)
        if "measured" in parts and folder is not None:
            results["measured"] = measured(folder, specs, order_names, seeds=seeds, note=note)
        if "selection" in parts:
            results["selection"] = selection(specs, order_names, seeds=seeds, note=note)
        if "speed" in parts:
            results["speed"] = speed(specs, note=note)
        if "network" in parts:
            words = dict(network_options or {})
            if orders is not None:
                words["orders"] = order_names
            compared = chosen_specs(METHODS, weights)[1:]
            results["network"] = network(compared, seeds=seeds, note=note, **words)
    return results


def _check_weights(weights: str) -> None:
    """Said before minutes are spent; else every row of the network would be left out for it."""
    from cxgi_bluesky.reconstruction.ch_mwcnn.weights import load_network

    load_network(weights)


def check_folder(folder: str | Path | None) -> None:
    """Raise `CxgiError` if there is no such folder, or no measured file in it."""
    if folder is None:
        raise CxgiError("measured files are not part of the package: give --measured FOLDER with 32 x 32 CSV files")
    if not Path(folder).is_dir():
        raise CxgiError(f"folder {folder} does not exist: give --measured a folder of 32 x 32 CSV files")
    list_measured(folder)


def machine() -> dict[str, Any]:
    """What the numbers depend on: versions and the processor."""
    from cxgi_bluesky import __version__

    return {
        "cxgi_bluesky": __version__,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "machine": platform.machine(),
        "processor": _processor(),
        "cores": os.cpu_count(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "")
