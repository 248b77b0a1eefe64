"""Images of the reproduction, laid out like the paper's figures."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.paper import paper
from benchmarks.paper.rows import REFERENCES, ObjectResult, Reference, Score
from benchmarks.paper.run import gold_scan

Image = NDArray[Any]
Results = Mapping[tuple[str, str, int], Any]

CURVE_STYLES = {
    "cu_board": ("Cu board (defects and noise)", "black", "-"),
    "perfect_board": ("perfect board", "tab:green", "-"),
    "defects_only": ("defects only", "tab:blue", "--"),
    "noise_only": ("noise only", "tab:orange", "--"),
    "insensitive_detector": ("perfect masks, insensitive detector", "tab:purple", ":"),
    "sandpaper": ("sandpaper", "red", "-"),
}


def draw_figures(folder: Path, results: Results, numbers: Mapping[str, Any], figures: Iterable[str]) -> None:
    """Write fig2.png, fig3.png and fig4.png, as far as they were asked for; images are those of seed 0."""
    if "fig2" in figures:
        _figure2(folder / "fig2.png", results, numbers["fig2"])
    if "fig3" in figures:
        objects = results["fig3", "objects", 0]
        _objects(folder / "fig3.png", {name: objects[name] for name in ("CAS", "gear")}, None)
    if "fig4" in figures:
        scans = {f"{s:g} s": results["fig4", gold_scan(s), 0]["gold"] for s in paper.GOLD_EXPOSURES_S}
        _objects(folder / "fig4.png", scans, results["fig4", "resolution", 0].direct)


def _figure(width: float, height: float) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    FigureCanvasAgg(figure)
    return figure


def _show(axis: Any, image: Image | None, title: str) -> None:
    axis.set_xticks([])
    axis.set_yticks([])
    if image is None:
        axis.axis("off")
        return
    low, high = np.percentile(image, [0.5, 99.5])
    axis.imshow(image, cmap="gray", vmin=low, vmax=high)
    axis.set_title(title, fontsize=9)


def _figure2(path: Path, results: Results, numbers: Mapping[str, Any]) -> None:
    _, hadamard, truth = results["fig2", "cu_board", 0]
    _, sandpaper, _ = results["fig2", "sandpaper", 0]
    figure = _figure(11, 7)
    panels = figure.subplot_mosaic("abcjj\ndefjj\nghijj")
    _show(panels["a"], truth, "(a) object")
    for letter, count in zip("bcdef", paper.EXPOSURES_SHOWN["sandpaper"], strict=True):
        _show(panels[letter], sandpaper[count], f"({letter}) sandpaper, {count}")
    for letter, count in zip("ghi", paper.EXPOSURES_SHOWN["hadamard"], strict=True):
        _show(panels[letter], hadamard[count], f"({letter}) Cu masks, {count}")
    _curves(panels["j"], numbers["curves"])
    figure.savefig(path, dpi=110)


def _curves(axis: Any, curves: Mapping[str, Any]) -> None:
    for name, curve in curves.items():
        label, colour, line = CURVE_STYLES[name]
        exposures, mean = np.array(curve["exposures"]), np.array(curve["cnr_mean"])
        spread = np.array([0.0 if s is None else s for s in curve["cnr_std"]])
        axis.plot(exposures, mean, line, color=colour, label=label, marker="o", markersize=3)
        axis.fill_between(exposures, mean - spread, mean + spread, color=colour, alpha=0.2, linewidth=0)
    axis.plot([1024], [paper.CNR["CAS", "GI"]], "k*", markersize=11, label="paper, 1024 exposures")
    axis.axvline(paper.EXPOSURES_AT_THE_PEAK, color="0.6", linewidth=0.8)
    axis.set_xscale("log")
    axis.set_ylim(0, 6.5)
    axis.set_xlabel("exposures (band: one standard deviation over the seeds)")
    axis.set_ylabel("CNR of the correlation")
    axis.set_title("(j)", fontsize=9)
    axis.grid(alpha=0.3)
    axis.legend(fontsize=8)


_ROW_TITLES: dict[Reference, str] = {False: "no reference", True: "reference scan", "maps": "measured masks"}


def _objects(path: Path, objects: Mapping[str, ObjectResult], direct: Image | None) -> None:
    """One block of rows an object or exposure time: a row for each kind of reference, a column for each method."""
    made = {method for result in objects.values() for method, _ in result.pictures}
    methods = [*paper.METHODS, *sorted(made - set(paper.METHODS))]
    height = len(objects) * len(REFERENCES)
    figure = _figure(2.4 * (len(methods) + 1), 2.5 * height)
    axes = iter(figure.subplots(height, len(methods) + 1, squeeze=False))
    for block, (name, result) in enumerate(objects.items()):
        titles = {(score.method, score.reference): _title(score) for score in result.scores}
        for reference in REFERENCES:
            first, *others = next(axes)
            _beside(first, result, reference, direct if block == 0 else None, shown=block == 0 or direct is None)
            for axis, method in zip(others, methods, strict=True):
                key = method, reference
                _show(axis, result.pictures.get(key), titles.get(key, ""))
            others[0].set_ylabel(f"{name}, {_ROW_TITLES[reference]}")
    figure.savefig(path, dpi=100)


def _beside(axis: Any, result: ObjectResult, reference: Reference, direct: Image | None, *, shown: bool) -> None:
    """In the first column: the truth, and below it the direct image; once where all blocks are of one object."""
    if reference is False and shown:
        _show(axis, result.truth, f"{result.scores[0].object_name}: true transmission")
    else:
        _show(axis, direct if reference is True else None, "direct image")


def _title(score: Score) -> str:
    title = f"{score.method}, CNR {score.cnr:.2f}"
    return title if score.gap is None else f"{title}, gap {max(score.gap.amplitude, 0):.2f}"
