"""A picture of a pattern set for people: which coefficients are measured, and when."""

from __future__ import annotations

import base64
import html
import io
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .orders import sequency_grid

if TYPE_CHECKING:
    from .pattern_set import PatternSet

NOT_MEASURED = "0.9"  # light grey


def map_turns(pattern_set: PatternSet) -> NDArray[np.float64]:
    """Map when each pattern is measured: its turn, from 1, at (u, v); NaN for those that are not, shape (n, n)."""
    down, along = (sequency[pattern_set.pattern_index] for sequency in sequency_grid(pattern_set.size))
    turns = np.full((pattern_set.size, pattern_set.size), np.nan)
    turns[down, along] = np.arange(1, pattern_set.count + 1)
    return turns


def render_png(pattern_set: PatternSet) -> bytes:
    """Render the map as a PNG: coarse patterns at the top left, what is not measured in grey."""
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(3.8, 3.4), layout="constrained", dpi=100)
    FigureCanvasAgg(figure)
    axis = figure.subplots()
    colours: Any = mpl.colormaps["viridis"].with_extremes(bad=NOT_MEASURED)
    drawn = axis.imshow(map_turns(pattern_set), cmap=colours, interpolation="nearest", vmin=1)
    axis.set_title(pattern_set.describe(), fontsize=9)
    axis.set(xlabel="sign changes along a row", ylabel="sign changes down a column")
    axis.tick_params(labelsize=7)
    bar = figure.colorbar(drawn, ax=axis, fraction=0.046, pad=0.03, label="turn in the scan")
    bar.ax.tick_params(labelsize=7)
    bar.outline.set_visible(False)
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def render_html(pattern_set: PatternSet) -> str:
    """Render the map for a notebook, with what it shows in words."""
    text = html.escape(f"{pattern_set.describe()}: which are measured, by their sign changes, and when", quote=True)
    return f'<img src="data:image/png;base64,{base64.b64encode(render_png(pattern_set)).decode()}" alt="{text}"/>'
