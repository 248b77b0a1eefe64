"""Whether the network's images are called supported when their buckets are real, and never when they are shuffled."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.suite.comparison import Case
from benchmarks.suite.specs import Spec
from cxgi_bluesky.measurement.measurement import Measurement
from cxgi_bluesky.reconstruction.cross_validation import cross_validate

Row = dict[str, Any]


def shuffled(measurement: Measurement, seed: int) -> Measurement:
    """The same coefficients at other patterns: no object has them (k = 0 stays)."""
    coefficient, others = measurement.coefficient.copy(), np.flatnonzero(measurement.pattern_index != 0)
    coefficient[others] = np.random.default_rng([seed, len(others)]).permutation(coefficient[others])
    return replace(measurement, coefficient=coefficient)


def verdicts(cases: Iterable[Case], specs: Iterable[Spec]) -> list[Row]:
    """Share of the held-out verdicts "supported" a method, with real and with shuffled buckets, and how many."""
    cases = list(cases)
    rows = []
    for spec in specs:
        real = [_supported(case.measurement, spec) for case in cases]
        wrong = [_supported(shuffled(case.measurement, case.words["seed"]), spec) for case in cases]
        row = {"method": spec.name, "cases": len(cases)}
        rows.append({**row, "real": float(np.mean(real)), "shuffled": float(np.mean(wrong))})
    return rows


def _supported(measurement: Measurement, spec: Spec) -> bool:
    verdict = cross_validate(measurement, method=spec.method, **spec.options)
    return verdict is not None and verdict["supported"] is True
