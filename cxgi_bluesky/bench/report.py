"""One run of the benchmarks, and the one table that is rendered from its results."""

from __future__ import annotations

import os
import platform
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import CxgiError
from .image_quality import quality
from .measured import measured
from .selection import selection
from .specs import chosen_orders, chosen_specs
from .speed import speed
from .timing import one_thread

PARTS = ("quality", "measured", "speed")


def run_bench(
    parts: Sequence[str] = PARTS,
    *,
    seeds: int = 5,
    folder: str | Path | None = None,
    orders: Sequence[str] | None = None,
    methods: Sequence[str] | None = None,
    note: Callable[[str], None] = lambda text: None,
) -> dict[str, Any]:
    """Run some parts of the benchmark, with one thread.

    Parameters
    ----------
    parts : sequence of {"quality", "measured", "speed", "selection"}
    seeds : int
        Noise seeds.
    folder : str or Path, optional
        Measured 32 x 32 files; needed for "measured".
    orders, methods : sequence of str, optional
        All by default; the zero-filled inverse is always run.
    note : callable
        Told what is being measured.

    Raises
    ------
    CxgiError
        For an unknown method or order, fewer than one seed, or a folder that is missing.
    """
    specs, order_names = chosen_specs(methods), chosen_orders(orders)
    if seeds < 1:
        raise CxgiError(f"{seeds} seeds: give at least 1")
    if "measured" in parts:
        check_folder(folder)
    results: dict[str, Any] = {"benchmark": "cxgi bench", **machine(), "seeds": seeds, "threads": 1}
    with one_thread():
        if "quality" in parts:
            results["quality"] = quality(specs, order_names, seeds=seeds, note=note)
        if "measured" in parts and folder is not None:
            results["measured"] = measured(folder, specs, order_names, seeds=seeds, note=note)
        if "selection" in parts:
            results["selection"] = selection(specs, order_names, seeds=seeds, note=note)
        if "speed" in parts:
            results["speed"] = speed(specs, note=note)
    return results


def check_folder(folder: str | Path | None) -> None:
    """Raise `CxgiError` if there is no such folder of measured files."""
    if folder is None:
        raise CxgiError("measured files are not part of the package: give --measured FOLDER with 32 x 32 CSV files")
    if not Path(folder).is_dir():
        raise CxgiError(f"folder {folder} does not exist: give --measured a folder of 32 x 32 CSV files")


def machine() -> dict[str, Any]:
    """What the numbers depend on: versions and the processor."""
    from .. import __version__

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
