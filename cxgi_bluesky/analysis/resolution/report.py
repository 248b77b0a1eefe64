"""The numbers of an edge and of a gap as plain values, and as lines of text."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np

from ..._files.atomic_write import explain_write_error
from .edge import Edge
from .gap import Gap
from .mtf import EdgeSpread, Mtf
from .roi import Region, Values

Numbers = dict[str, Any]

VERDICTS = {
    "resolved": "resolved: wider than a thin line would look",
    "resolution limit": "at the resolution limit: the gap itself may be narrower than it looks",
    "unresolved": "UNRESOLVED: its depth does not stand out of the noise",
}


def edge_numbers(edge: Edge, spread: EdgeSpread, pixel_um: float | None) -> Numbers:
    """What is known of an edge; lengths in pixels and, with the pixel's size, in um.

    Parameters
    ----------
    edge : Edge
        The fitted edge.
    spread : EdgeSpread
        Its edge-spread function.
    pixel_um : float or None
        Size of a pixel (um).

    Returns
    -------
    dict
        Numbers by name (``width_px``, ``width_um``, ...); ``box`` is [row0, row1, col0, col1].
    """
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
    """MTF50, MTF10 (cycles per pixel, and per mm with the pixel's size), and the value at Nyquist.

    Parameters
    ----------
    mtf : Mtf
        Of an edge.
    pixel_um : float or None
        Size of a pixel (um).

    Returns
    -------
    dict of float
        By name (``mtf50_per_px``, ``mtf50_per_mm``, ``at_nyquist``, ...).
    """
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

    `equivalent_width_px` is the gap's area over `contrast`: the width of a gap that is fully open (or shut).
    Blur does not change it, so it holds for gaps narrower than the resolution, if the image is linear and the
    gap really is open.

    Parameters
    ----------
    gap : Gap
        The fitted gap.
    contrast : float
        The image's own, bright minus dark, in its unit.
    pixel_um : float or None
        Size of a pixel (um); with it lengths are given in um too.

    Returns
    -------
    dict
        Values by name (``width_px``, ``width_um``, ``verdict``, ...).
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
    """Lines of a table.

    Parameters
    ----------
    numbers : dict
        Of `edge_numbers`.
    mtf : dict
        Of `mtf_numbers`.
    """
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


# ---------------------------------------------------------------- figure


EDGE, GAP, POINTS = "tab:orange", "tab:cyan", "0.55"


def draw(
    path: str | Path,
    image: Values,
    *,
    edge: tuple[Edge, EdgeSpread, Mtf] | None = None,
    gap: Gap | None = None,
    pixel_um: float | None = None,
    title: str = "",
) -> Path:
    """Write the figure (.png, .pdf or .svg).

    Parameters
    ----------
    path : str or Path
        Its suffix is the format.
    image : ndarray, shape (rows, columns)
        The image that was measured, in any unit.
    edge : (Edge, EdgeSpread, Mtf), optional
        Adds the panels of an edge.
    gap : Gap, optional
        Adds the panel of a gap.
    pixel_um : float, optional
        Size of a pixel (um); without it widths are in pixels alone.
    title : str, optional
        Above all panels; empty by default.

    Returns
    -------
    Path
        Of the figure.

    Raises
    ------
    CxgiError
        If it cannot be written there.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = 1 + (2 if edge else 0) + (1 if gap else 0)
    rows, cols = (2, 2) if panels == 4 else (1, panels)
    figure = Figure(figsize=(5.2 * cols, 4.2 * rows), layout="constrained")
    FigureCanvasAgg(figure)
    axes = iter(np.atleast_1d(figure.subplots(rows, cols)).ravel())
    _draw_image(next(axes), image, edge[0] if edge else None, gap)
    if edge:
        _draw_edge_profile(next(axes), *edge[:2], pixel_um)
        _draw_mtf(next(axes), edge[2], pixel_um)
    if gap:
        _draw_gap_profile(next(axes), gap, pixel_um)
    figure.suptitle(title)
    with explain_write_error(f"figure {path}", "choose another --out, ending in .png", (OSError, ValueError)):
        figure.savefig(path, dpi=120)
    return Path(path)


def _draw_image(axis: Any, image: Values, edge: Edge | None, gap: Gap | None) -> None:
    low, high = np.percentile(image, [0.5, 99.5])
    axis.imshow(image, cmap="gray", vmin=low, vmax=high if high > low else low + 1)
    for found, colour, name in ((edge, EDGE, "edge"), (gap, GAP, "gap")):
        if found is not None:
            row0, row1, col0, col1 = found.region.outline()
            axis.plot(
                np.array([col0, col1, col1, col0, col0]) - 0.5,
                np.array([row0, row0, row1, row1, row0]) - 0.5,
                color=colour,
                linewidth=1,
                linestyle=":",
            )
            rows, cols = _line_in(found.region, found.row, found.col, found.normal)
            axis.plot(cols, rows, color=colour, linewidth=2, label=name)
    axis.set_xlabel("column (px)")
    axis.set_ylabel("row (px)")
    if edge or gap:
        axis.legend(loc="upper right", fontsize="small")


def _line_in(region: Region, row: float, col: float, normal: float) -> tuple[Values, Values]:
    """The piece of the line that lies in the region: rows and columns of its two ends."""
    along = (region.rows - row) * math.cos(normal) - (region.cols - col) * math.sin(normal)
    near = np.abs((region.rows - row) * math.sin(normal) + (region.cols - col) * math.cos(normal)) <= 1
    ends = np.array([along[near].min(), along[near].max()])
    return row + ends * math.cos(normal), col - ends * math.sin(normal)


def _draw_edge_profile(axis: Any, edge: Edge, spread: EdgeSpread, pixel_um: float | None) -> None:
    distance = edge.distance
    fine = np.linspace(distance.min(), distance.max(), 400)
    axis.plot(distance, edge.region.values, ".", color=POINTS, markersize=3, label="pixels")
    axis.plot(spread.distance, spread.value, color="tab:blue", linewidth=1, label="mean of the pixels")
    axis.plot(fine, edge.model(fine), color=EDGE, linewidth=2, label="fit")
    for share in (0.1, 0.9):
        axis.axhline(edge.low + share * edge.contrast, color="0.8", linewidth=0.8, zorder=0)
    axis.axvspan(-edge.width_px / 2, edge.width_px / 2, color=EDGE, alpha=0.15, linewidth=0)
    width = _with_um(edge.width_px, edge.width_sigma_px, pixel_um)
    _finish(axis, f"edge, 10-90 % width {width}", "distance from the edge (px)", "image")
    axis.legend(loc="upper left", fontsize="small")


def _draw_mtf(axis: Any, mtf: Mtf, pixel_um: float | None) -> None:
    axis.plot(mtf.frequency, mtf.empirical, color="tab:blue", linewidth=1, label="from the pixels")
    axis.plot(mtf.frequency, mtf.fitted, color=EDGE, linewidth=2, label="fit (pixel included)")
    axis.axvline(0.5, color="0.6", linewidth=1, linestyle="--", label="Nyquist")
    for level, frequency in ((0.5, mtf.mtf50), (0.1, mtf.mtf10)):
        if frequency <= 1:
            axis.plot([frequency, frequency, 0], [0, level, level], color="0.6", linewidth=0.8, zorder=0)
            axis.plot(frequency, level, "o", color=EDGE, markersize=5)
    axis.set_xlim(0, 1)
    axis.set_ylim(0, 1.1)
    per_mm = "" if pixel_um is None else f" = {mtf.mtf50 * 1000 / pixel_um:.3g} cycles/mm"
    _finish(axis, f"MTF50 {mtf.mtf50:.3g} cycles/px{per_mm}", "frequency (cycles/px)", "MTF")
    axis.legend(loc="upper right", fontsize="small")


def _draw_gap_profile(axis: Any, gap: Gap, pixel_um: float | None) -> None:
    distance = gap.distance
    fine = np.linspace(distance.min(), distance.max(), 400)
    model = gap.model(fine)
    axis.plot(distance, gap.region.values, ".", color=POINTS, markersize=3, label="pixels")
    axis.plot(fine, model, color=GAP, linewidth=2, label="fit")
    if not math.isnan(gap.width_px):
        top = model.max() if gap.bright else model.min()
        middle = float(fine[np.argmax(model) if gap.bright else np.argmin(model)])
        level = (top + sum(gap.shoulders) / 2) / 2
        ends = middle - gap.width_px / 2, middle + gap.width_px / 2
        axis.annotate("", (ends[0], level), (ends[1], level), arrowprops={"arrowstyle": "<->", "color": "tab:red"})
        name = f"gap, width {_with_um(gap.width_px, gap.width_sigma_px, pixel_um)}\n({gap.verdict})"
    else:
        name = "gap: unresolved"
    _finish(axis, name, "distance from the gap's middle (px)", "image")
    axis.legend(loc="upper left", fontsize="small")


def _with_um(value: float, sigma: float, pixel_um: float | None) -> str:
    text = f"{value:.2f} ± {sigma:.2f} px"
    return text if pixel_um is None else f"{text} = {value * pixel_um:.3g} ± {sigma * pixel_um:.2g} um"


def _finish(axis: Any, title: str, x: str, y: str) -> None:
    axis.set_title(title, fontsize="medium")
    axis.set_xlabel(x)
    axis.set_ylabel(y)
    axis.grid(alpha=0.3)
