"""The numbers of an edge and of a gap as plain values, and as lines of text."""

from __future__ import annotations

import math
from typing import Any

from .edge import Edge
from .gap import Gap
from .mtf import EdgeSpread, Mtf

Numbers = dict[str, Any]

VERDICTS = {
    "resolved": "resolved: wider than a thin line would look",
    "resolution limit": "at the resolution limit: the gap itself may be narrower than it looks",
    "unresolved": "UNRESOLVED: its depth does not stand out of the noise",
}


def edge_numbers(edge: Edge, spread: EdgeSpread, pixel_um: float | None) -> Numbers:
    """What is known of an edge; lengths in pixels and, with the pixel's size, in um."""
    row0, row1, col0, col1 = edge.region.outline()
    numbers = {
        "row": edge.row,
        "col": edge.col,
        "position_sigma_px": edge.position_sigma_px,
        "angle_deg": edge.angle_deg,
        "angle_sigma_deg": edge.angle_sigma_deg,
        "low": edge.low,
        "high": edge.high,
        "contrast": edge.contrast,
        "noise": edge.noise,
        "width_px": edge.width_px,
        "width_sigma_px": edge.width_sigma_px,
        "width_empirical_px": spread.width_px,
        "blur_px": edge.blur_px,
        "blur_sigma_px": edge.blur_sigma_px,
        "oversampling": spread.oversampling,
        "box": [row0, row1, col0, col1],
    }
    return numbers | _in_um(numbers, pixel_um)


def mtf_numbers(mtf: Mtf, pixel_um: float | None) -> Numbers:
    """MTF50, MTF10 (cycles per pixel, and per mm with the pixel's size), and the value at Nyquist."""
    numbers = {
        "mtf50_per_px": mtf.mtf50,
        "mtf50_sigma_per_px": mtf.mtf50_sigma,
        "mtf50_empirical_per_px": mtf.mtf50_empirical,
        "mtf10_per_px": mtf.mtf10,
        "mtf10_sigma_per_px": mtf.mtf10_sigma,
        "mtf10_empirical_per_px": mtf.mtf10_empirical,
        "at_nyquist": mtf.at_nyquist,
        "at_nyquist_sigma": mtf.at_nyquist_sigma,
        "at_nyquist_empirical": mtf.at_nyquist_empirical,
    }
    if pixel_um is None:
        return numbers
    per_mm = {
        key.replace("_per_px", "_per_mm"): value * 1000 / pixel_um for key, value in numbers.items() if "_per_px" in key
    }
    return numbers | per_mm


def gap_numbers(gap: Gap, contrast: float, pixel_um: float | None) -> Numbers:
    """What is known of a gap.

    `equivalent_width_px` is the gap's area over the picture's own `contrast` (bright minus dark): the
    width of a gap that is fully open (or shut). Blur does not change it, so it holds for gaps narrower than the
    resolution, if the picture is linear and the gap really is open.
    """
    numbers = {
        "row": gap.row,
        "col": gap.col,
        "angle_deg": gap.angle_deg,
        "kind": "bright" if gap.bright else "dark",
        "verdict": gap.verdict,
        "width_px": gap.width_px,
        "width_sigma_px": gap.width_sigma_px,
        "limit_px": gap.limit_px,
        "equivalent_width_px": abs(gap.area) / contrast,
        "equivalent_width_sigma_px": gap.area_sigma / contrast,
        "depth": gap.depth,
        "depth_sigma": gap.depth_sigma,
        "visibility": gap.visibility,
        "shoulders": list(gap.shoulders),
        "noise": gap.noise,
    }
    return numbers | _in_um(numbers, pixel_um)


def _in_um(numbers: Numbers, pixel_um: float | None) -> Numbers:
    if pixel_um is None:
        return {}
    return {key[:-3] + "_um": value * pixel_um for key, value in numbers.items() if key.endswith("_px")}


def edge_text(numbers: Numbers, mtf: Numbers) -> list[str]:
    """Lines of a table."""
    seen = numbers["contrast"] / numbers["noise"] if numbers["noise"] > 0 else math.inf
    lines = [
        f"edge at row {numbers['row']:.2f}, column {numbers['col']:.2f}, "
        f"tilted {numbers['angle_deg']:.1f} +- {numbers['angle_sigma_deg']:.1f} degrees from upright, "
        f"contrast {numbers['contrast']:.3g} ({seen:.3g} x noise)",
        _row(
            "  10-90 % width", numbers, "width", "px", "um", f"  (from the pixels {_px(numbers['width_empirical_px'])})"
        ),
        _row("  blur without the pixel", numbers, "blur", "px", "um", "  (sigma)"),
    ]
    for name, key in (("  MTF50", "mtf50"), ("  MTF10", "mtf10")):
        pixels = f"  (from the pixels {_number(mtf[f'{key}_empirical_per_px'])})"
        lines.append(_row(name, mtf, key, "per_px", "per_mm", pixels))
    nyquist = _with_sigma(mtf["at_nyquist"], mtf["at_nyquist_sigma"])
    lines.append(
        f"{'  MTF at Nyquist':<26}{nyquist:>16}       at 0.5 cycles/px  "
        f"(from the pixels {_number(mtf['at_nyquist_empirical'])})"
    )
    return lines


def gap_text(numbers: Numbers) -> list[str]:
    """Lines of a table."""
    visibility = "-" if math.isnan(numbers["visibility"]) else f"{numbers['visibility']:.2f}"
    lines = [
        f"{numbers['kind']} gap at row {numbers['row']:.2f}, column {numbers['col']:.2f}, "
        f"tilted {numbers['angle_deg']:.1f} degrees from upright: {VERDICTS[numbers['verdict']]}",
        f"{'  depth':<26}{_with_sigma(numbers['depth'], numbers['depth_sigma']):>16}, visibility {visibility}",
    ]
    if numbers["verdict"] != "unresolved":
        limit = f"  (a thin line looks {_px(numbers['limit_px'])} wide)"
        level = "fully open" if numbers["kind"] == "bright" else "fully dark"
        lines.insert(1, _row("  width at half depth", numbers, "width", "px", "um", limit))
        lines.insert(
            2,
            _row("  width from the area", numbers, "equivalent_width", "px", "um", f"  (if it is {level} throughout)"),
        )
    return lines


UNITS = {"px": "px", "um": "um", "per_px": "cycles/px", "per_mm": "cycles/mm"}


def _row(name: str, numbers: Numbers, key: str, first: str, second: str, more: str = "") -> str:
    columns = []
    for unit in (first, second):
        if f"{key}_{unit}" in numbers:
            value, sigma = numbers[f"{key}_{unit}"], numbers[f"{key}_sigma_{unit}"]
            columns.append(f"{_with_sigma(value, sigma):>16} {UNITS[unit]:<9}")
    return f"{name:<26}{' '.join(columns)}{more}"


def _with_sigma(value: float, sigma: float) -> str:
    """Both to the second digit of sigma, three decimals at most."""
    if not (math.isfinite(value) and math.isfinite(sigma)):
        return "-"
    decimals = 3 if sigma <= 0 else min(3, max(0, 1 - math.floor(math.log10(sigma))))
    return f"{value:.{decimals}f} +- {sigma:.{decimals}f}"


def _number(value: float) -> str:
    if math.isnan(value):
        return "-"
    return f"{value:.3g}" if abs(value) >= 0.1 or value == 0 else f"{value:.3f}"


def _px(value: float) -> str:
    return f"{_number(value)} px"
