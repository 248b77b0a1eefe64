"""Validation curves of a training as a picture."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from .._files.atomic_write import whole_file
from .history import Line

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_COVERED = (0.6, 0.75)  # where the share of pixels within one sigma ought to lie


def draw_curves(lines: list[Line], path: Path, steps: int) -> None:
    """Write `curves` to a .png file, which appears whole or not at all."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = curves(lines, steps)
    FigureCanvasAgg(figure)
    with whole_file(path) as part:
        figure.savefig(part, dpi=110, format="png")


def curves(lines: list[Line], steps: int) -> Figure:
    """PSNR of each check, the loss of the pictures, and how many pixels sigma covers, over the steps.

    Parameters
    ----------
    lines : list of dict
        Of the history.
    steps : int
        Where the part for the pictures ends.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4.4), layout="constrained")
    of_psnr, of_loss, of_share = figure.subplots(1, 3)
    pictures = [line for line in lines if line["step"] <= steps]
    _draw_each(of_psnr, lines, "psnr_db")
    shown = [line for line in pictures if line["loss"] is not None]
    of_loss.plot([p["step"] for p in shown], [p["loss"] for p in shown], color="0.3", marker=".", markersize=3)
    _draw_each(of_share, lines, "covered")
    of_share.axhspan(*_COVERED, color="0.92")
    of_psnr.set(ylabel="PSNR (dB)", title="pictures of the checks")
    of_loss.set(ylabel="mean of log10(MSE)", title="loss in training")
    of_share.set(ylabel="share of pixels", title="errors within 1 sigma")
    for axes in (of_psnr, of_loss, of_share):
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
    return figure


def _draw_each(axes: Any, lines: list[Line], key: str) -> None:
    told = [line for line in lines if key in line]
    for name in told[-1][key] if told else ():
        values = [float("nan") if line[key].get(name) is None else line[key][name] for line in told]
        axes.plot([line["step"] for line in told], values, label=name, marker=".", markersize=3)
    if told:
        axes.legend(fontsize=7)
    else:
        axes.text(0.5, 0.5, "not trained yet", transform=axes.transAxes, ha="center", color="0.5")
