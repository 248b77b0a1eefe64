"""Renew the figures of docs/explanation, from scans on the simulated beamline.

    python -m tools.figures docs/explanation              # all
    python -m tools.figures docs/explanation orders       # some

The numbers in their titles are of these scans; the seeds are fixed. `limits` draws etched tiles: two minutes the first
time, and half a minute from the cache.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from bluesky import RunEngine
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from PIL import Image

from benchmarks.suite.workload import measure, pattern_set, truths
from cxgi_bluesky import Measurement, PatternSet, Reconstruction, load_board, reconstruct
from cxgi_bluesky.analysis.metrics import psnr
from cxgi_bluesky.devices.simulated.beamline import SimulatedMaskBeamline, simulated_beamline
from cxgi_bluesky.masks.board import Alignment
from cxgi_bluesky.masks.pattern_set import pattern
from cxgi_bluesky.measurement.exposures import Exposures
from cxgi_bluesky.plans import mask_scan, reference_scan
from cxgi_bluesky.reconstruction.cross_validation import reconstruct_and_check
from cxgi_bluesky.reconstruction.drawing import choose_scale_bar
from cxgi_bluesky.simulation.objects.rendering import block_mean

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COUNT = 768  # 18.75 % of 64 x 64
STEPS = (16, 64, 256, 768)
ORDERS = ("zig-zag", "cake-cutting", "russian-dolls", "learned-density", "random")
SECONDS = (1.0, 3.0, 10.0)
COLOURS = 96  # of a file, which is small by it


def draw_bucket() -> Figure:
    """Draw what the diode adds up: the object behind three masks."""
    line = simulated_beamline("au64", "gold", seed=1)
    truth, t0 = line.simulation.truth, load_board("au64").t0
    figure, axes = _panels(3, 4, (7.6, 6.6))
    for row, index in zip(axes, PatternSet(64, COUNT).pattern_index[[1, 60, 700]], strict=True):
        mask = np.where(pattern(64, int(index)) > 0, 1.0, t0)
        titles = (f"mask: pattern {index}", "the object", "light behind both")
        for axis, image, title in zip(row, (mask, truth, mask * truth), titles, strict=False):
            _show(axis, image, title, pixel_um=10.0)
        share = float((mask * truth).mean() / truth.mean())
        row[3].barh([0], [share], color="0.3")
        row[3].set(xlim=(0, 1), yticks=[], xlabel="of the open tile's", aspect=0.6)
        row[3].set_title(f"bucket: {share:.3f}", fontsize=9)
        row[3].spines[["top", "right"]].set_visible(False)
    return figure


def draw_growth() -> Figure:
    """Draw the buckets of a scan, and the image after some of them."""
    line = simulated_beamline("au64", "gold", seed=1)
    scan = _scan(line, exposure_s=3.0)
    figure, axes = _panels(2, len(STEPS), (8.4, 4.9))
    grid = axes[0, 0].get_gridspec()
    for axis in axes[0]:
        axis.remove()
    current = figure.add_subplot(grid[0, :])
    current.plot(np.arange(1, len(scan) + 1), scan.buckets().bucket, ".", markersize=3, color="0.25")
    current.set(xscale="log", xlim=(0.9, COUNT * 1.05), xticks=[1, *STEPS], xticklabels=["1", *map(str, STEPS)])
    current.minorticks_off()
    current.set_xlabel("exposure: coarse patterns first, fine ones last", fontsize=9)
    current.set_ylabel("bucket (pA)", fontsize=9)
    current.spines[["top", "right"]].set_visible(False)
    whole = Measurement.from_exposures(scan)
    for axis, count in zip(axes[1], STEPS, strict=True):
        current.axvline(count, color="tab:blue", linewidth=0.8)
        made = reconstruct(whole.first(count), method="tv")
        _show(axis, made.image, f"{count} patterns\nPSNR {_psnr(made, line):.1f} dB", pixel_um=10.0)
    return figure


def draw_orders() -> Figure:
    """Draw which patterns an order takes, and two images of each; perfect masks, 30 dB."""
    figure, axes = _panels(3, len(ORDERS), (9.2, 5.8))
    for column, order in zip(axes.T, ORDERS, strict=True):
        patterns = pattern_set(order, 0)
        taken = np.zeros((64, 64))
        taken[_sequency(patterns.pattern_index)] = 1
        column[0].imshow(taken, cmap="Greys", vmin=0, vmax=1.4, origin="upper", interpolation="nearest")
        column[0].set_title(order, fontsize=9)
        column[0].set(xticks=[0, 63], yticks=[0, 63])
        column[0].tick_params(labelsize=7)
        for axis, name in zip(column[1:], ("camera", "CAS"), strict=True):
            truth = truths()[name]
            made = reconstruct(measure(truth, patterns, snr_db=30.0, seed=0), method="ch-mwcnn")
            decibels = psnr(made.image.clip(0, 1), truth, data_range=1.0)
            _show(axis, made.image, f"{decibels:.1f} dB")
    axes[0, 0].set_ylabel("changes along y", fontsize=8)
    axes[0, 0].set_xlabel("changes along x", fontsize=8)
    return figure


def draw_claims() -> Figure:
    """Draw an image, its uncertainty and its true error; and what comes of shuffled buckets."""
    line = simulated_beamline("au64", "gold", seed=1)
    whole = Measurement.from_exposures(_scan(line, exposure_s=3.0))
    made = reconstruct_and_check(whole, method="ch-mwcnn", details=True)
    shuffled = whole.coefficient.copy()
    shuffled[1:] = np.random.default_rng(0).permutation(shuffled[1:])
    wrong = reconstruct_and_check(replace(whole, coefficient=shuffled), method="ch-mwcnn")
    figure, axes = _panels(1, 4, (9.2, 2.9))
    assert made.uncertainty is not None
    scale: dict[str, Any] = {"colours": "magma", "pixel_um": 10.0, "high": 0.3}
    _show(axes[0, 0], made.image, f"image\n{_verdict(made)}", pixel_um=10.0)
    _show(axes[0, 1], made.uncertainty, "its uncertainty\n(black 0, yellow 0.3)", **scale)
    error = abs(made.image - line.simulation.truth)
    inside = float((error <= made.uncertainty).mean())
    _show(axes[0, 2], error, f"its true error\n{inside:.0%} within one sigma", **scale)
    _show(axes[0, 3], wrong.image, f"buckets shuffled\n{_verdict(wrong)}", pixel_um=10.0)
    return figure


def draw_limits() -> Figure:
    """Draw the gold object by exposure time and masks, and the profile across its gap."""
    figure, axes = _panels(3, len(SECONDS) + 1, (8.0, 6.6))
    truth = simulated_beamline("au64", "gold").simulation.truth
    for row, (name, etched) in zip(
        axes, (("perfect masks", False), ("etched", True), ("reference", True)), strict=True
    ):
        profile = row[-1]
        profile.plot(_across_gap(truth), color="0.6", linewidth=3, label="true")
        for axis, exposure_s, colour in zip(row, SECONDS, ("#fcae91", "#fb6a4a", "#a50f15"), strict=False):
            line = simulated_beamline("au64", "gold", seed=1, etched=etched)
            reference = _scan(line, exposure_s, plan=reference_scan) if name == "reference" else None
            whole = Measurement.from_exposures(_scan(line, exposure_s), reference=reference)
            made = reconstruct(whole, method="ch-mwcnn")
            title = name if name != "reference" else "etched + reference"
            _show(axis, made.image, f"{title}, {exposure_s:g} s\nPSNR {_psnr(made, line):.1f} dB", pixel_um=10.0)
            profile.plot(_across_gap(made.image), color=colour, label=f"{exposure_s:g} s")
        profile.set(xticks=[], ylim=(-0.1, 1.1), yticks=[0, 1])
        profile.set_title("across the gap", fontsize=9)
        profile.spines[["top", "right"]].set_visible(False)
        profile.tick_params(labelsize=7)
    axes[0, -1].legend(fontsize=7, frameon=False)
    return figure


def draw_board() -> Figure:
    """Draw a plate of 1024 tiles, where its tiles and fiducials lie (that of docs/how-to/make-a-board.md)."""
    board = replace(
        load_board("au64"),
        tile_pitch_um=660.0,
        columns=32,
        pattern_index=tuple(PatternSet(64, 1024).pattern_index.tolist()),
        fiducials=((-3, 5), (-3, 14), (-3, 31), (34, 31), (34, 3)),
        alignment=Alignment(),
    )
    figure, axes = _panels(1, 1, (4.6, 5.0))
    axis, half, pitch = axes[0, 0], board.tile_um / 2000, 66
    axis.set_facecolor("black")
    plate = np.zeros((32 * pitch, 32 * pitch))
    for tile, index in enumerate(board.pattern_index):
        row, column = (part * pitch + 1 for part in divmod(tile, board.columns))
        plate[row : row + 64, column : column + 64] = pattern(64, index) > 0
    ends = (-0.33, 32 * 0.66 - 0.33)
    axis.imshow(block_mean(plate, 6), cmap="gray", extent=(*ends, *ends[::-1]), interpolation="bilinear")
    for number, cell in enumerate(board.fiducials):
        x, y = board.place_mm(cell)
        axis.add_patch(Rectangle((x - half, y - half), 2 * half, 2 * half, color="white"))
        axis.annotate(
            f"fiducial {number}", (x, y), (0, -13), textcoords="offset points", color="white", fontsize=7, ha="center"
        )
    x, y = board.position_mm(board.open_tile_number)
    axis.add_patch(Rectangle((x - half, y - half), 2 * half, 2 * half, color="white"))
    axis.annotate("open tile", (x, y), (-6, 9), textcoords="offset points", color="white", fontsize=7)
    axis.set(xlim=(-2, 22.5), ylim=(25, -4), xlabel="stage x (mm)", ylabel="stage y (mm)", aspect="equal")
    return figure


FIGURES: dict[str, Callable[[], Figure]] = {
    "board": draw_board,
    "bucket": draw_bucket,
    "growth": draw_growth,
    "orders": draw_orders,
    "claims": draw_claims,
    "limits": draw_limits,
}


# ---------------------------------------------------------------- scans and numbers


def _scan(line: SimulatedMaskBeamline, exposure_s: float, *, plan: Any = mask_scan) -> Exposures:
    documents: list[Any] = []
    devices = (line.stage, line.shutter, line.diode)
    patterns = PatternSet(64, COUNT)
    words = {"pattern_set": patterns, "exposure_s": exposure_s, "object_stage": line.object_stage}
    RunEngine({})(plan(*devices, **words), lambda *document: documents.append(document))
    return Exposures.from_documents(documents)


def _psnr(made: Reconstruction, line: SimulatedMaskBeamline) -> float:
    return psnr(made.image, line.simulation.truth, data_range=1.0)


def _verdict(made: Reconstruction) -> str:
    held_out = made.quality["held_out"]
    return f"{'supported' if held_out['supported'] else 'NOT supported'}, explained {held_out['explained']:.0%}"


def _across_gap(image: NDArray[Any]) -> NDArray[Any]:
    """Mean profile across the gap of the gold object, from -10 to 10 pixels, along its tilt of 12 degrees."""
    rows, steps = np.arange(8, 56), np.arange(-10, 11)
    centres = 28.4 - (rows - 31.5) * np.tan(np.radians(12))
    return np.mean(
        [np.interp(centre + steps, np.arange(64), image[row]) for row, centre in zip(rows, centres, strict=True)],
        axis=0,
    )


@lru_cache(maxsize=1)
def _sign_changes() -> NDArray[np.int64]:
    """Of each row of the natural Hadamard matrix of order 64."""
    from scipy.linalg import hadamard

    return np.count_nonzero(np.diff(hadamard(64), axis=1), axis=1)


def _sequency(index: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Sign changes down the rows and along the columns of patterns of 64 x 64."""
    return _sign_changes()[index // 64], _sign_changes()[index % 64]


# ---------------------------------------------------------------- drawing


def _panels(rows: int, columns: int, inches: tuple[float, float]) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure

    figure = Figure(figsize=inches, layout="constrained")
    return figure, figure.subplots(rows, columns, squeeze=False)


def _show(
    axis: Axes,
    image: NDArray[Any],
    title: str,
    *,
    pixel_um: float | None = None,
    colours: str = "gray",
    high: float = 1.0,
) -> None:
    axis.imshow(image, cmap=colours, interpolation="nearest", vmin=0, vmax=high)
    axis.set_title(title, fontsize=9)
    axis.set(xticks=[], yticks=[])
    axis.spines[:].set(color="0.6", linewidth=0.6)
    if pixel_um is not None:
        share, text = choose_scale_bar(len(image), pixel_um)
        options: dict[str, Any] = {"transform": axis.transAxes, "clip_on": False}
        axis.plot((0, share), (-0.05, -0.05), color="black", linewidth=2.5, solid_capstyle="butt", **options)
        axis.text(share + 0.03, -0.05, text, va="center", fontsize=7, **options)


def main() -> None:
    """Draw the figures that are named, or all."""
    logging.disable(logging.WARNING)
    out, names = Path(sys.argv[1]), sys.argv[2:] or list(FIGURES)
    for name in names:
        path = out / f"{name}.png"
        FIGURES[name]().savefig(path, dpi=100)
        Image.open(path).convert("RGB").quantize(COLOURS).save(path, optimize=True)
        print(f"{path}: {path.stat().st_size / 1000:.0f} kB")


if __name__ == "__main__":
    main()
