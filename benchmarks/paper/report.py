"""The page and the JSON of a reproduction: the templates of ``pages/`` with their tables filled in."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from importlib.resources import files
from pathlib import Path
from string import Template
from typing import Any

from benchmarks.paper import paper
from benchmarks.paper.gold_gap import SHOWN_SEGMENTS, TRUE_WIDTH_PX, WIDTH_ERROR
from benchmarks.paper.rows import CAMERA_NOISE, REFERENCE_NAMES
from benchmarks.paper.scans import EXPOSURE_S, ORDER
from benchmarks.suite.network_tables import GAP_HEAD
from benchmarks.suite.pnp_bm3d import NAME as PEER_NAME
from benchmarks.suite.pnp_bm3d import NOT_INSTALLED
from cxgi_bluesky.errors import CxgiError

Numbers = dict[str, Any]
PAGE, TABLE = "reproduction.md", "reproduction.json"
NOTHING = "-"
LEGEND = (
    "*reference scan*: the same tiles with the object out. *measured masks*: a camera's image of each tile "
    f"(noise {CAMERA_NOISE:.0%} of the open tile in a sub-pixel) predicts the buckets. *supported*: share of the seeds "
    "in which patterns that were held back agree with the image."
)
CURVE_TITLES = {
    "cu_board": "Cu board",
    "perfect_board": "perfect board",
    "defects_only": "defects only",
    "noise_only": "noise only",
    "insensitive_detector": "insensitive detector",
}


def output_folder(out: Path) -> Path:
    """The folder with its sub-folder for images, made if need be."""
    try:
        (out / "reproduction").mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise CxgiError(f"folder {out} cannot be made ({error}): choose another --out") from error
    return out


def write(out: Path, numbers: Numbers, figures: Sequence[str]) -> str:
    """Write the page and the JSON; returns the page."""
    text = page(numbers, figures)
    (out / PAGE).write_text(text, encoding="utf-8")
    (out / TABLE).write_text(json.dumps(numbers, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    return text


def page(numbers: Numbers, figures: Iterable[str]) -> str:
    """The whole page as Markdown."""
    makers: dict[str, Callable[[Numbers], dict[str, str]]] = {"fig2": _figure2, "fig3": _figure3, "fig4": _figure4}
    seen = numbers["network_training"]
    introduction = {"seeds": str(numbers["seeds"]), "minutes": f"{numbers['minutes']:.0f}", "order": ORDER}
    parts = [_filled("introduction", {**introduction, "seen": seen})]
    for figure in figures:
        parts.append(_filled(figure, {**makers[figure](numbers[figure]), "seen": seen}))
    return "".join(parts)


def _filled(name: str, words: dict[str, str]) -> str:
    template = (files(__package__) / "pages" / f"{name}.md").read_text(encoding="utf-8")
    return Template(template).substitute(words)


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def _pm(mean: float | None, std: float | None, digits: int = 2) -> str:
    if mean is None:
        return NOTHING
    return f"{mean:.{digits}f}" + (f" ± {std:.{digits}f}" if std is not None else "")


# ---------------------------------------------------------------- figure 2


def _figure2(numbers: Numbers) -> dict[str, str]:
    curves, peaks = numbers["curves"], numbers["peak_exposures"]
    shown = [curves[name] for name in CURVE_TITLES]
    rows = [
        [str(count), *(_pm(curve["cnr_mean"][i], curve["cnr_std"][i]) for curve in shown)]
        for i, count in enumerate(shown[0]["exposures"])
    ]
    sand = curves["sandpaper"]
    sandpaper = [
        [str(count), _pm(mean, std)]
        for count, mean, std in zip(sand["exposures"], sand["cnr_mean"], sand["cnr_std"], strict=True)
    ]
    return {
        "curves": _table(["exposures", *CURVE_TITLES.values()], rows),
        "sandpaper": _table(["exposures, sandpaper", "CNR"], sandpaper),
        "peak": str(peaks["cu_board"]),
        "perfect_peak": str(peaks["perfect_board"]),
        "paper_peak": str(paper.EXPOSURES_AT_THE_PEAK),
        "last": f"{curves['cu_board']['cnr_mean'][-1]:.2f}",
        "paper_last": str(paper.CNR["CAS", "GI"]),
        **_ends("defects", curves["defects_only"]),
        **_ends("noise", curves["noise_only"]),
        **_ends("insensitive", curves["insensitive_detector"]),
        "ratios": _ratios(numbers["sandpaper_over_hadamard"], max(sand["exposures"])),
    }


def _ends(name: str, curve: Numbers) -> dict[str, str]:
    """Highest and last CNR of a curve."""
    return {f"{name}_top": f"{max(curve['cnr_mean']):.2f}", f"{name}_last": f"{curve['cnr_mean'][-1]:.2f}"}


def _ratios(rows: Sequence[Numbers], most: int) -> str:
    """Range of the ratios, and for how many CNRs sandpaper never gets there."""
    ratios = [row["ratio"] for row in rows if row["ratio"] is not None]
    if not ratios:
        return f"far more than {most}"
    text = f"{min(ratios):.0f} to {max(ratios):.0f} times"
    beyond = [row for row in rows if row["ratio"] is None]
    if beyond:
        text += f" (and does not reach the CNR of {min(row['cnr'] for row in beyond):.2f} within {most})"
    return text


# ---------------------------------------------------------------- figures 3 and 4


def _rows_table(rows: Sequence[Numbers], *, gap: bool) -> str:
    head = [
        "exposure s" if gap else "object",
        "method",
        "reference",
        "CNR",
        "paper",
        "PSNR dB",
        "SSIM",
        *(GAP_HEAD if gap else []),
        "supported",
    ]
    cells = [
        [
            f"{row['exposure_s']:g}" if gap else row["object"],
            row["method"],
            REFERENCE_NAMES[row["reference"]],
            _pm(row["cnr_mean"], row["cnr_std"]),
            _pm(row["paper_cnr"], None),
            f"{row['psnr_db']:.1f}",
            f"{row['ssim']:.2f}",
            *(gap_cells(row) if gap else []),
            NOTHING if row["supported"] is None else f"{row['supported']:.0%}",
        ]
        for row in rows
    ]
    return _table(head, cells)


def gap_cells(row: Numbers) -> list[str]:
    """Brightness, segments and width of the gap, as `GAP_HEAD` names them."""
    keys = (("gap_brightness", 2), ("gap_segments", 1), ("gap_um", 0))
    return [_pm(row[key], None, digits) for key, digits in keys]


def _legend(rows: Sequence[Numbers]) -> str:
    """What the table's words mean, and whether the peer stands in it."""
    if any(row["method"] == PEER_NAME for row in rows):
        return (
            f"{LEGEND} *{PEER_NAME}* runs in an environment of its own ([peers](reference/peers.md)); it gets the "
            "coefficients and the sigma that the network gets, behind measured masks those that TVAL3 gets."
        )
    return f"{LEGEND} {PEER_NAME}: {NOT_INSTALLED.replace(': ', ' (')})."


def _d_r(numbers: Numbers) -> str:
    board, measured = numbers["board"], numbers["measured_mean"]
    return (
        f"D_r of board {board}, measured on its open and its metal tile: {measured:.3f}; the paper's, which the board "
        f"file says: {numbers['paper']:.2f}; predicted from its metal and a tube, {numbers['predicted_from']}: "
        f"{_pm(numbers['predicted'], None)}."
    )


def _ranking(rows: Sequence[Numbers], name: str) -> str:
    """Our order of the methods that the paper shows, and whether it is the paper's."""
    mine = [row for row in rows if row["object"] == name and row["reference"] is False]
    ours = {row["method"]: row["cnr_mean"] for row in mine if row["method"] in paper.METHODS}
    theirs = {method: value for (thing, method), value in paper.CNR.items() if thing == name}
    shown, found = sorted(theirs, key=theirs.__getitem__), sorted(theirs, key=ours.__getitem__)
    text = f"- {name}: " + " < ".join(f"{method} {ours[method]:.2f}" for method in found)
    if found == shown:
        text += ", the paper's order."
    else:
        text += ". **The paper's order differs:** " + " < ".join(f"{m} {theirs[m]:.2f}" for m in shown) + "."
    best = max(ours, key=ours.__getitem__)
    return text if best == "CH-MWCNN" else f"{text} The best of ours is {best} ({ours[best]:.2f}), not the network."


def _gains(rows: Sequence[Numbers], name: str) -> str:
    lines = []
    for method in dict.fromkeys(row["method"] for row in rows):
        mine = [row for row in rows if row["object"] == name and row["method"] == method]
        value = {row["reference"]: row["cnr_mean"] for row in mine}
        if len(value) < len(REFERENCE_NAMES):  # a peer that has failed
            continue
        plain, scan, maps = value[False], value[True], value["maps"]
        lines.append(
            f"- {name}, {method}: {plain:.2f}, with a reference scan {scan:.2f} ({scan / plain:.1f} times), "
            f"with measured masks {maps:.2f} ({maps / plain:.1f} times)"
        )
    return "\n".join(lines)


def _figure3(numbers: Numbers) -> dict[str, str]:
    rows = numbers["rows"]
    gears = {
        row["object"]: row
        for row in rows
        if row["object"].startswith("gear") and row["reference"] is False and row["method"] == "GI"
    }
    wanted = paper.CNR["gear", "GI"]
    nearest = min(gears.values(), key=lambda row: abs(row["cnr_mean"] - wanted))
    return {
        "table": _rows_table(rows, gap=False),
        "legend": _legend(rows),
        "rankings": f"{_ranking(rows, 'CAS')}\n{_ranking(rows, 'gear')}",
        "gains": _gains(rows, "CAS"),
        "gears": "\n".join(f"- `{name}`: {_pm(row['cnr_mean'], row['cnr_std'])}" for name, row in gears.items()),
        **_kept(rows),
        "nearest": f"Nearest to the paper's {wanted:.2f} is `{nearest['object']}`.",
        "d_r": _d_r(numbers["d_r"]),
    }


def _kept(rows: Sequence[Numbers]) -> dict[str, str]:
    """CNR without a reference of TVAL3, with and without its first step, and of GI."""
    cnr = {(row["object"], row["method"]): row["cnr_mean"] for row in rows if row["reference"] is False}
    methods = {"gi": "GI", "tval3": "TVAL3", "kept": paper.TVAL3_AS_MEASURED}
    return {
        f"{name.lower()}_{key}": f"{cnr[name, method]:.2f}"
        for name in ("CAS", "gear")
        for key, method in methods.items()
    }


def _figure4(numbers: Numbers) -> dict[str, str]:
    rows, resolution = numbers["rows"], numbers["resolution"]
    shortest = [row for row in rows if row["exposure_s"] == EXPOSURE_S]
    first, last = resolution["edges"][0], resolution["edges"][-1]
    return {
        "table": _rows_table(rows, gap=True),
        "legend": _legend(rows),
        "gap": f"{paper.GAP_UM:.0f}",
        "true_width": f"{10 * TRUE_WIDTH_PX:.1f}",
        "shown": _shown(rows),
        "rankings": _ranking(shortest, "gold"),
        "gains": _gains(shortest, "gold"),
        "d_r": _d_r(numbers["d_r"]),
        "knife": _knife(resolution["knife_edge"]),
        "edges": _edges(resolution["edges"]),
        "direct_first": f"{first['direct_um']:.1f}",
        "direct_last": f"{last['direct_um']:.1f}",
        "ghost_first": f"{first['ghost_um']:.1f}",
        "ghost_last": f"{last['ghost_um']:.1f}",
        "ghost_pixel": f"{first['ghost_pixel_um']:.1f}",
    }


def _shown(rows: Sequence[Numbers]) -> str:
    """For each exposure time, whose images show the gap along its length; and how near to its width they come."""
    lines = []
    for exposure_s in dict.fromkeys(row["exposure_s"] for row in rows):
        shown = [row for row in rows if row["exposure_s"] == exposure_s and row["gap_segments"] >= SHOWN_SEGMENTS]
        whose = (
            f"{name}: {', '.join(row['method'] for row in shown if row['reference'] == reference) or 'nobody'}"
            for reference, name in REFERENCE_NAMES.items()
        )
        lines.append(f"- {exposure_s:g} s, reference {'; '.join(whose)}.")
    return "\n".join([*lines, f"- {_narrow(rows)}"])


def _narrow(rows: Sequence[Numbers]) -> str:
    true_um, measured = 10 * TRUE_WIDTH_PX, [row for row in rows if row["gap_um"] is not None]
    right = [row for row in measured if abs(row["gap_um"] / true_um - 1) <= WIDTH_ERROR]
    if right:
        return f"Within {WIDTH_ERROR:.0%} of the true width: {', '.join(map(_way, right))}."
    text = f"Nobody has its width to {WIDTH_ERROR:.0%}"
    if not measured:
        return f"{text}."
    best = min(measured, key=lambda row: abs(row["gap_um"] / true_um - 1))
    return f"{text}; the nearest is {best['gap_um']:.0f} um by {_way(best)}."


def _way(row: Numbers) -> str:
    return f"{row['method']} ({REFERENCE_NAMES[row['reference']]}, {row['exposure_s']:g} s)"


def _knife(spot: Numbers) -> str:
    head = ["axis", "true um", "measured um", "stated sigma um", "largest deviation in sigma"]
    rows = [
        [
            axis,
            f"{row['true_um']:.0f}",
            f"{row['fwhm_um']:.2f}",
            f"{row['stated_sigma_um']:.2f}",
            f"{row['largest_pull']:.1f}",
        ]
        for axis, row in spot.items()
    ]
    return _table(head, rows)


def _edges(edges: Sequence[Numbers]) -> str:
    head = ["spot um", "direct, by geometry um", "direct um", "ghost um", "MTF50 direct, ghost per mm"]
    rows = [
        [
            f"{row['spot_x_um']:.0f} x {row['spot_y_um']:.0f}",
            f"{row['direct_expected_um']:.1f}",
            _pm(row["direct_um"], row["direct_sigma_um"], 1),
            _pm(row["ghost_um"], row["ghost_sigma_um"], 1),
            f"{row['direct_mtf50_per_mm']:.0f}, {row['ghost_mtf50_per_mm']:.0f}",
        ]
        for row in edges
    ]
    return _table(head, rows)
