"""Time and memory of the network at the anchor's size, beside those of tv and TVAL3."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from benchmarks.suite.comparison import RIVAL
from benchmarks.suite.first_call import first_call
from benchmarks.suite.memory import camera_measurement, peak_memory
from benchmarks.suite.specs import Spec
from benchmarks.suite.timing import BUDGET_S, milliseconds
from benchmarks.suite.workload import FRACTION, SIZE
from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.masks.pattern_set import count_for_fraction
from cxgi_bluesky.measurement.measurement import Measurement
from cxgi_bluesky.reconstruction.error_model.noise import PreparedMeasurement

Row = dict[str, Any]
_SIZING = ("tv", "ch-mwcnn")  # methods that look for the size of the coefficients' errors first


def network_speed(
    specs: Sequence[Spec], *, size: int = SIZE, in_processes: bool = True, budget_s: float = BUDGET_S
) -> tuple[list[Row], list[Row]]:
    """One row a method: times in ms, memory in MB; and what a method cannot do, with its reason.

    Parameters
    ----------
    specs : sequence of Spec
        `RIVAL` among them: its time is the baseline of the others.
    size : int
    in_processes : bool
        Whether the first call and the memory are measured too, each in a process of its own.
    budget_s : float
        About how long each time may be repeated.

    Returns
    -------
    rows : list of dict
        ``first_ms``, ``ms`` (later calls), ``sized_ms`` (the errors' size known from an earlier step, None for
        methods that do not ask for it), ``ratio`` of ``ms`` to that of `RIVAL`, ``growth_mb``, ``peak_mb``.
    left_out : list of dict
    """
    count = count_for_fraction(size, FRACTION)
    measurement = camera_measurement(size, count)
    rows: list[Row] = []
    left_out: list[Row] = []
    for spec in specs:
        try:
            row: Row = {"method": spec.name, "size": size, **_times(spec, measurement, budget_s)}
            if in_processes:
                row["first_ms"] = first_call(spec.method, size, count, spec.options)
                row |= peak_memory(spec.method, size, count, spec.options)
        except CxgiError as error:
            left_out.append({"method": spec.name, "why": str(error)})
            continue
        rows.append(row)
    base = next((row["ms"] for row in rows if row["method"] == RIVAL), None)
    return [{**row, "ratio": None if base is None else row["ms"] / base} for row in rows], left_out


def _times(spec: Spec, measurement: Measurement, budget_s: float) -> Row:
    row: Row = {**milliseconds(lambda: spec(measurement), budget_s=budget_s), "sized_ms": None}
    if spec.method in _SIZING:
        prepared = PreparedMeasurement.from_measurement(measurement)
        row["sized_ms"] = milliseconds(lambda: spec(prepared), budget_s=budget_s)["ms"]
    return row
