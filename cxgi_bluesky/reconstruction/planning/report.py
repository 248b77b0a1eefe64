"""Plans of measurements for people and programs: what they give, and what they are given back."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ...errors import ConfigError
from .budget import MeasurementPlan, PlannedScan

SECONDS = {"ms": 1e-3, "s": 1.0, "min": 60.0, "h": 3600.0}
LENGTHS_UM = {"nm": 1e-3, "um": 1.0, "µm": 1.0, "mm": 1e3}


def parse_quantity(name: str, text: str | None, units: Mapping[str, float], example: str) -> float | None:
    """Parse a number with a unit; the unit is the one whose factor is 1, where there is none.

    Parameters
    ----------
    name : str
        Of what it is, for messages.
    text : str or None
        None gives None.
    units : mapping
        Factor by unit, such as `SECONDS`.
    example : str
        For messages.

    Raises
    ------
    CxgiError
        For anything else.
    """
    if text is None:
        return None
    match = re.fullmatch(r"\s*(\d+\.?\d*(?:e[+-]?\d+)?|\.\d+)\s*([a-zµ]*)\s*", text)
    if match is None or (match[2] and match[2] not in units):
        raise ConfigError(f"{name} {text!r}: give a number and one of {', '.join(units)}, such as {example}")
    return float(match[1]) * units.get(match[2], 1.0)


def to_payload(made: MeasurementPlan) -> dict[str, Any]:
    """Write a plan as JSON has it: board, the best scan with its call, the alternatives and notes."""
    line = made.for_line
    return {
        "board": made.board.name,
        "size": made.board.size,
        "pixel_um": made.board.pixel_um,
        "d_r": made.board.d_r,
        "masks": made.masks,
        "line_um": made.line_um,
        "best": _scan_payload(made, made.best),
        "for_line": None if line is None else _scan_payload(made, line),
        "alternatives": [_scan_payload(made, scan) for scan in made.alternatives()],
        "notes": list(made.notes),
    }


def _scan_payload(made: MeasurementPlan, scan: PlannedScan) -> dict[str, Any]:
    expected = scan.expected
    return {
        "strategy": scan.strategy,
        "patterns": scan.patterns.count,
        "order": scan.patterns.order,
        "order_seed": scan.patterns.seed,
        "exposure_s": scan.exposure_s,
        "time_s": scan.time_s,
        "open_s": scan.open_s,
        "noise_db": scan.noise_db,
        "psnr_db": expected.psnr_db,
        "psnr_16_db": expected.psnr_low_db,
        "psnr_84_db": expected.psnr_high_db,
        "line_shows": expected.line,
        "call": made.call(scan),
        "arguments": made.arguments(scan),
    }
