"""Time and memory of every method against image size."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from benchmarks.suite.memory import camera_measurement, peak_memory
from benchmarks.suite.specs import BASELINE, Spec
from benchmarks.suite.timing import BUDGET_S, milliseconds
from benchmarks.suite.workload import FRACTION
from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.masks.pattern_set import count_for_fraction
from cxgi_bluesky.masks.transform import hadamard_matrix
from cxgi_bluesky.measurement.measurement import Measurement
from cxgi_bluesky.reconstruction.api import reconstruct

SIZES = (32, 64, 128, 256, 512)
FULL_SET_SIZES = (64, 256, 1024)
FULL_SET_TARGET_MS = {64: 0.1, 1024: 60.0}
FULL_SET_TARGET_MB = {1024: 200.0}
MEMORY_SIZES = (64, 512)

Row = dict[str, Any]
Note = Callable[[str], None]


def speed(
    specs: Sequence[Spec],
    *,
    sizes: Sequence[int] = SIZES,
    full_set_sizes: Sequence[int] = FULL_SET_SIZES,
    memory: bool = True,
    budget_s: float = BUDGET_S,
    note: Note = lambda text: None,
) -> dict[str, Any]:
    """Rows of median, minimum and maximum time (ms), each beside a named baseline of the same run.

    Parameters
    ----------
    specs : sequence of Spec
        The baseline among them.
    sizes, full_set_sizes : sequence of int
        Pixels per side for every method at 18.75 %, and for GI of all patterns.
    memory : bool
        Whether memory is measured too, in a process of its own per number.
    budget_s : float
        About how long each number may be repeated.
    note : callable
        Told what is being measured.

    Returns
    -------
    dict
        `rows`: task, size, ms, min_ms, max_ms, baseline, baseline_ms, ratio (time over that of the
        baseline), growth_mb and peak_mb where measured, target_ms and target_mb where there is one.
    """
    rows: list[Row] = []
    left_out: list[Row] = []
    for size in full_set_sizes:
        note(f"speed: GI of all {size**2} patterns")
        rows.append(_full_set(size, memory, budget_s))
    for size in sizes:
        note(f"speed: every method at {size} x {size}")
        made, failed = _methods(specs, size, memory and size in MEMORY_SIZES, budget_s)
        rows += made
        left_out += failed
    return {"fraction": FRACTION, "baseline": BASELINE, "rows": rows, "left_out": left_out}


def _against(row: Row, baseline: str, baseline_ms: float) -> Row:
    return {**row, "baseline": baseline, "baseline_ms": baseline_ms, "ratio": row["ms"] / baseline_ms}


def _full_set(size: int, memory: bool, budget_s: float) -> Row:
    """GI of the full set against the same transform as two products with the n x n matrix."""
    measurement = camera_measurement(size, size**2)
    matrix, grid = hadamard_matrix(size, "float64"), measurement.coefficient_grid()
    times = milliseconds(lambda: reconstruct(measurement, method="correlation"), budget_s=budget_s)
    row = {"task": "GI, full set", "size": size, **times}
    if memory:
        row |= peak_memory("correlation", size, size**2)
    row |= {"target_ms": FULL_SET_TARGET_MS.get(size), "target_mb": FULL_SET_TARGET_MB.get(size)}
    dense = milliseconds(lambda: matrix @ grid @ matrix, budget_s=budget_s)["ms"]
    return _against(row, "two products with the n x n matrix", dense)


def _methods(specs: Sequence[Spec], size: int, memory: bool, budget_s: float) -> tuple[list[Row], list[Row]]:
    """Every method at one size against the baseline; what a method cannot do is left out with its reason."""
    count = count_for_fraction(size, FRACTION)
    measurement = camera_measurement(size, count)
    baseline_ms = milliseconds(lambda: reconstruct(measurement, method=BASELINE), budget_s=budget_s)["ms"]
    rows: list[Row] = []
    left_out: list[Row] = []
    for spec in specs:
        try:
            row = {"task": spec.name, "size": size, **_timed(spec, measurement, budget_s)}
            if memory:
                row |= peak_memory(spec.method, size, count, spec.options)
        except CxgiError as error:
            left_out.append({"task": spec.name, "size": size, "why": str(error)})
            continue
        rows.append(_against(row, BASELINE, baseline_ms))
    return rows, left_out


def _timed(spec: Spec, measurement: Measurement, budget_s: float) -> dict[str, float]:
    return milliseconds(lambda: spec(measurement), budget_s=budget_s)
