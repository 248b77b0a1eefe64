"""The page and the JSON of a reproduction."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from ..errors import CxgiError
from . import paper
from .rows import CAMERA_NOISE, REFERENCE_NAMES
from .scans import ORDER

Numbers = dict[str, Any]
PAGE, TABLE = "reproduction.md", "reproduction.json"


def output_folder(out: Path) -> Path:
    """The folder with its sub-folder for pictures, made if need be."""
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
    parts = [_introduction(numbers)]
    makers = {"fig2": _figure2, "fig3": _figure3, "fig4": _figure4}
    parts += [makers[figure](numbers[figure]) for figure in figures]
    return "\n".join(parts)


def _introduction(numbers: Numbers) -> str:
    return f"""# The paper's figures, on the simulated beamline

Made by `cxgi reproduce` ({numbers["seeds"]} seeds, {numbers["minutes"]} minutes): each seed is another board, other noise and another drift of the
source. Everything goes through the plans, devices and reconstructions that a beamline uses; only the beam is simulated.
± is the standard deviation over the seeds. PSNR and SSIM are taken after a least-squares affine fit to the truth, for every
method alike. No method sees the truth, and no weight was chosen with it.

**What was fitted.** The paper does not say how large the etching errors of its boards are, nor its exposure time, current, order of
patterns or gain of the detector. The errors of the boards in this simulation (rounding, side walls, over-etching and its spread)
were tuned by hand until the contrast-to-noise ratios that the paper reports for correlation and TVAL3 came out; the order,
{ORDER}, is the one of ours whose first 768 patterns give the paper's TVAL3 value. So agreement with those numbers is no
test of the simulation. It shows that such a mechanism *can* explain them, not that it is the cause: an insensitive detector bends the curve
of Fig. 2(j) in the same way (below).

"""


def _pm(mean: float | None, std: float | None, digits: int = 2) -> str:
    if mean is None:
        return "–"
    return f"{mean:.{digits}f}" + (f" ± {std:.{digits}f}" if std is not None else "")


# ---------------------------------------------------------------- figure 2


def _figure2(numbers: Numbers) -> str:
    curves = numbers["curves"]
    lines = [
        "## Figure 2: correlation, Hadamard masks against sandpaper",
        "",
        "![Figure 2](reproduction/fig2.png)",
        "",
        "CNR of the second-order correlation of “CAS” after so many exposures:",
        "",
    ]
    hadamard = [name for name in curves if name != "sandpaper"]
    titles = {
        "cu_board": "Cu board",
        "perfect_board": "perfect board",
        "defects_only": "defects only",
        "noise_only": "noise only",
        "insensitive_detector": "insensitive detector",
    }
    lines += [
        "| exposures | " + " | ".join(titles[name] for name in hadamard) + " |",
        "|---" * (len(hadamard) + 1) + "|",
    ]
    for i, count in enumerate(curves["cu_board"]["exposures"]):
        cells = [_pm(curves[name]["cnr_mean"][i], curves[name]["cnr_std"][i]) for name in hadamard]
        lines.append(f"| {count} | " + " | ".join(cells) + " |")
    sand = curves["sandpaper"]
    lines += ["", "| sandpaper, exposures | CNR |", "|---|---|"]
    lines += [
        f"| {count} | {_pm(mean, std)} |"
        for count, mean, std in zip(sand["exposures"], sand["cnr_mean"], sand["cnr_std"], strict=True)
    ]
    last = curves["cu_board"]["cnr_mean"][-1]
    ratios = [row for row in numbers["sandpaper_over_hadamard"] if row["ratio"] is not None]
    low, high = (f"{pick(row['ratio'] for row in ratios):.1f}" for pick in (min, max)) if ratios else ("–", "–")
    lines += [
        "",
        f"- The Cu board's curve peaks at {numbers['peak_exposures']['cu_board']} exposures (paper: near "
        f"{paper.EXPOSURES_AT_THE_PEAK}) and ends at {last:.2f} (paper: {paper.CNR['CAS', 'GI']}); the perfect board's peaks at "
        f"{numbers['peak_exposures']['perfect_board']}.",
        f"- For the same CNR on the rising side, sandpaper takes {low} to {high} times the exposures (paper: an order of magnitude).",
        "- *Defects only* and *noise only* part the two explanations that the paper gives: with the noise of this detector the "
        "defects alone bend the curve. *Insensitive detector* has perfect masks and a noise of 4.5 % of the mean bucket in each reading: "
        "it bends the curve as well, so the curve alone cannot tell the two apart.",
        "",
    ]
    return "\n".join(lines)


# ---------------------------------------------------------------- figures 3 and 4


def _table(rows: Sequence[Numbers]) -> list[str]:
    gap = any(row["gap_um"] is not None for row in rows)
    head = [
        "object",
        "method",
        "reference",
        "CNR",
        "paper",
        "PSNR dB",
        "SSIM",
        *(["gap um"] if gap else []),
        "supported",
    ]
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    for row in rows:
        cells = [
            row["object"],
            row["method"],
            REFERENCE_NAMES[row["reference"]],
            _pm(row["cnr_mean"], row["cnr_std"]),
            "–" if row["paper_cnr"] is None else f"{row['paper_cnr']:.2f}",
            f"{row['psnr_db']:.1f}",
            f"{row['ssim']:.2f}",
            *([_pm(row["gap_um"], None, 0)] if gap else []),
            "–" if row["supported"] is None else f"{row['supported']:.0%}",
        ]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


_LEGEND = (
    "*reference scan*: the same tiles with the object out; *measured masks*: a camera picture of each tile "
    f"(noise {CAMERA_NOISE:.0%} of the open tile a pixel) predicts the buckets. *supported*: share of the seeds in which patterns that were held back "
    "agree with the picture."
)


def _d_r(numbers: Numbers) -> str:
    return (
        f"D_r of the {numbers['board']} board: measured on open and metal tiles {numbers['measured_mean']:.3f}, paper {numbers['paper']:.2f} "
        "(a property of the board here, not predicted from its metal)."
    )


def _ranking(rows: Sequence[Numbers], name: str) -> str:
    """Our order of the methods that the paper shows, and whether it is the paper's."""
    ours = {row["method"]: row["cnr_mean"] for row in rows if row["object"] == name and row["reference"] is False}
    theirs = {method: value for (thing, method), value in paper.CNR.items() if thing == name}
    shown = sorted(theirs, key=theirs.__getitem__)
    found = sorted(theirs, key=ours.__getitem__)
    text = f"- {name}: " + " < ".join(f"{m} ({ours[m]:.2f})" for m in found)
    if found == shown:
        text += ", the paper's order"
    else:
        text += "; **the paper's order differs**: " + " < ".join(f"{m} ({theirs[m]:.2f})" for m in shown)
    best = max(ours, key=ours.__getitem__)
    if best != "CH-MWCNN":
        text += f". Best without a reference is {best} ({ours[best]:.2f}), not the network"
    return text + "."


def _gain(rows: Sequence[Numbers], name: str) -> list[str]:
    lines = []
    for method in ("GI", "TV/L2"):
        value = {row["reference"]: row["cnr_mean"] for row in rows if row["object"] == name and row["method"] == method}
        lines.append(
            f"- {name}, {method}: the reference scan raises the CNR {value[True] / value[False]:.1f} times "
            f"({value[False]:.2f} to {value[True]:.2f}), measured masks to {value['maps']:.2f}."
        )
    return lines


def _figure3(numbers: Numbers) -> str:
    rows = numbers["rows"]
    lines = [
        "## Figure 3: Cu board, 1024 exposures",
        "",
        "![Figure 3](reproduction/fig3.png)",
        "",
        *_table(rows),
        "",
        _LEGEND,
        "",
    ]
    lines += ["Order of the methods without a reference:", "", _ranking(rows, "CAS"), _ranking(rows, "gear"), ""]
    lines += _gain(rows, "CAS")
    lines += ["", *_gear(rows), "", _d_r(numbers["d_r"]), ""]
    return "\n".join(lines)


def _gear(rows: Sequence[Numbers]) -> list[str]:
    """Which framing and polarity of the gear comes near the paper's values."""
    gears = {
        row["object"]: row
        for row in rows
        if row["object"].startswith("gear") and row["reference"] is False and row["method"] == "GI"
    }
    nearest = min(gears.values(), key=lambda row: abs(row["cnr_mean"] - paper.CNR["gear", "GI"]))
    lines = [
        "The gear. The paper gives its diameter (1.5 mm: 10 of the 32 pixels at the masks' 150 um) and neither framing nor polarity. "
        "GI without a reference gives"
    ]
    lines += [f"- `{name}`: {_pm(row['cnr_mean'], row['cnr_std'])}" for name, row in gears.items()]
    lines.append(
        f"\nNearest to the paper's {paper.CNR['gear', 'GI']} is `{nearest['object']}`. "
        "Aperture and opaque gear differ only in which of the two is bright: the masks' error grows with the light that passes, so the "
        "open field around an opaque gear costs contrast."
    )
    return lines


def _figure4(numbers: Numbers) -> str:
    rows = numbers["rows"]
    lines = [
        "## Figure 4: Au board, 768 exposures (18.75 %)",
        "",
        "![Figure 4](reproduction/fig4.png)",
        "",
        *_table(rows),
        "",
        _LEGEND,
        "",
    ]
    lines += ["Order of the methods without a reference:", "", _ranking(rows, "gold"), "", *_gain(rows, "gold"), ""]
    lines += [
        f"The gap of {paper.GAP_UM:.0f} um is one mask pixel: a gap narrower than 1.1 pixels (11 um) cannot be seen in these pictures. "
        "– means that fewer than half of the seeds show one.",
        "",
        _d_r(numbers["d_r"]),
        "",
        *_resolution(numbers["resolution"]),
    ]
    return "\n".join(lines)


def _resolution(numbers: Numbers) -> list[str]:
    """The knife edge's table, the edges' table, and what they say together."""
    lines = [
        "### The source, and what it does to an edge",
        "",
        "`knife_edge_scan` moves a blade 50 mm behind the source, a slit of 20 um stands 400 mm behind the blade; the fit takes the "
        "slit into account. Full width at half maximum of the spot:",
        "",
        "| axis | true um | measured um | stated sigma um | largest deviation in sigma |",
        "|---|---|---|---|---|",
    ]
    for axis, row in numbers["knife_edge"].items():
        values = f"{row['fwhm_um']:.2f} | {row['stated_sigma_um']:.2f} | {row['largest_pull']:.1f}"
        lines.append(f"| {axis} | {row['true_um']:.0f} | {values} |")
    lines += [
        "",
        "10-90 % width (and MTF50) of the outer face of the gold column, tilted by 12 degrees, in the direct projection image and in the "
        "ghost image (TV/L2, 768 exposures, measured masks), with spots of three sizes:",
        "",
        "| spot um | direct, by geometry | direct, measured | ghost, measured | MTF50 direct / ghost, per mm |",
        "|---|---|---|---|---|",
    ]
    for row in numbers["edges"]:
        spot = f"{row['spot_x_um']:.0f} x {row['spot_y_um']:.0f}"
        direct = f"{row['direct_um']:.1f} ± {row['direct_sigma_um']:.1f}"
        ghost = f"{row['ghost_um']:.1f} ± {row['ghost_sigma_um']:.1f}"
        mtf = f"{row['direct_mtf50_per_mm']:.0f} / {row['ghost_mtf50_per_mm']:.0f}"
        lines.append(f"| {spot} | {row['direct_expected_um']:.1f} | {direct} | {ghost} | {mtf} |")
    widths = [row["ghost_um"] for row in numbers["edges"]]
    pixel = numbers["edges"][0]["ghost_pixel_um"]
    lines += [
        "",
        f"The ghost image's edge does not follow the source ({min(widths):.1f} to {max(widths):.1f} um): it is that of the mask's pixels "
        f"({pixel:.1f} um at the object) as far as the noise of 768 exposures lets it be sharp. The direct image's edge is set by the source: "
        "with the smallest spot it is the sharper of the two. The direct image of this simulation is drawn on 4 sub-pixels a mask pixel, "
        "which widens the edge of the 10 um spot by a tenth.",
        "",
    ]
    return lines
