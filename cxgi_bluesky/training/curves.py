"""Validation curves of a training as a picture."""

from __future__ import annotations

import json
from pathlib import Path


def draw_curves(history: Path, path: Path) -> None:
    """PSNR of each check, and how many pixels its sigma covers, over the steps."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    lines = [json.loads(line) for line in history.read_text(encoding="utf-8").splitlines()]
    figure = Figure(figsize=(9, 4.2), layout="constrained")
    FigureCanvasAgg(figure)
    for axes, key, label in zip(
        figure.subplots(1, 2), ("psnr_db", "covered"), ("PSNR (dB)", "pixels within 1 sigma"), strict=True
    ):
        told = [line for line in lines if key in line]
        for name in told[-1][key] if told else ():
            axes.plot([t["step"] for t in told], [t[key].get(name) for t in told], label=name, marker=".", markersize=3)
        axes.set(xlabel="step", ylabel=label)
        axes.grid(alpha=0.3)
        if key == "covered":
            axes.axhspan(0.6, 0.75, color="0.9")
        if told:
            axes.legend(fontsize=7)
    figure.savefig(path, dpi=120)
