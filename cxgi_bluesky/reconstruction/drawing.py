"""Pictures of reconstructions for people: with a scale bar, the uncertainty, and what the data say of the image."""

from __future__ import annotations

import base64
import html
import io
import math
import textwrap
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from matplotlib.axes import Axes

    from .result import Reconstruction

BAR_SHARE = 0.3  # of the image's width, at most
PANEL_INCHES = (3.3, 3.7)
TITLE_CHARACTERS = 42  # of a line above a panel; longer ones would be cut, or cover the neighbour's
WARNING_COLOUR = "#b3261e"


def grey_range(image: NDArray[Any]) -> tuple[float, float]:
    """What is black and what is white in a grey image: the 0.5 and 99.5 percentiles of what is finite."""
    finite = image[np.isfinite(image)]
    low, high = np.percentile(finite, [0.5, 99.5]) if finite.size else (0.0, 1.0)
    return float(low), float(high)


def round_length(longest: float) -> float:
    """Return the longest of 1, 2, 5, 10, 20, ... that is not longer.

    Parameters
    ----------
    longest : float
        Above 0, in any unit.
    """
    power = 10.0 ** math.floor(math.log10(longest))
    return next(step * power for step in (5, 2, 1) if step * power <= longest * (1 + 1e-9))


def choose_scale_bar(size: int, pixel_um: float | None) -> tuple[float, str]:
    """Choose a bar of round length below an image.

    Parameters
    ----------
    size : int
        Pixels per side n.
    pixel_um : float or None
        Pixel size at the object (um); None: the bar counts pixels.

    Returns
    -------
    share : float
        Its length over the image's width.
    text : str
        Length and unit.
    """
    pixel, unit = (pixel_um, "µm") if pixel_um else (1.0, "pixels")
    length = round_length(BAR_SHARE * size * pixel)
    text = f"{length / 1000:g} mm" if unit == "µm" and length >= 1000 else f"{length:g} {unit}"
    return length / pixel / size, text


def _draw_scale_bar(axis: Axes, size: int, pixel_um: float | None) -> None:
    """Draw the bar below the image, so that it covers nothing of it."""
    share, text = choose_scale_bar(size, pixel_um)
    options: dict[str, Any] = {"transform": axis.transAxes, "clip_on": False}
    axis.plot((0, share), (-0.035, -0.035), color="black", linewidth=2.5, solid_capstyle="butt", **options)
    axis.text(share + 0.02, -0.035, text, va="center", fontsize=8, **options)


def draw_reconstruction(axis: Axes, result: Reconstruction, title: str) -> None:
    """Draw an image into an axis: grey values with their bar, scale bar, and what the data say of it in the title.

    Parameters
    ----------
    axis : matplotlib Axes
    result : Reconstruction
        Image of shape (n, n).
    title : str
        First line of the title.
    """
    _draw_map(axis, result.image, "gray", result.source.get("pixel_um"))
    lines = [title, f"{result.exposures} patterns ({result.exposures / result.image.size:.1%}), {result.scale}"]
    if result.psnr_claim is not None:
        lines.append(result.psnr_claim)
    score = result.quality.get("held_out")
    if result.mark is None and score:
        outside = "" if score["outside"] is None else f", {score['outside']['explained']:.0%} outside set"
        lines.append(f"predicted: {score['explained']:.0%} held back{outside}")
    unlike = "unlike the network's training" if result.unlike_training else None
    warnings = [warning for warning in (result.mark, unlike) if warning]
    colour = WARNING_COLOUR if warnings else "black"
    _set_title(axis, [*lines, *warnings], color=colour)


def _set_title(axis: Axes, lines: Iterable[str], **options: Any) -> None:
    wrapped = [part for line in lines for part in textwrap.wrap(line, TITLE_CHARACTERS)]
    axis.set_title("\n".join(wrapped), fontsize=9, **options)


def draw_uncertainty(axis: Axes, result: Reconstruction, title: str) -> None:
    """Draw the uncertainty of an image into an axis, with its scale.

    Parameters
    ----------
    axis : matplotlib Axes
    result : Reconstruction
        Image of shape (n, n), with its uncertainty.
    title : str
        First line of the title.
    """
    _draw_map(axis, result.uncertainty, "magma", result.source.get("pixel_um"))
    what = {"noise": "from the noise alone", "error": "of its whole error"}.get(result.uncertainty_kind or "", "")
    _set_title(axis, [title, "one standard deviation", what])


def _draw_map(axis: Axes, image: Any, colours: str, pixel_um: float | None) -> None:
    low, high = grey_range(image)
    drawn = axis.imshow(image, cmap=colours, interpolation="nearest", vmin=low, vmax=max(high, low + 1e-12))
    axis.set_xticks([])
    axis.set_yticks([])
    bar = axis.figure.colorbar(drawn, ax=axis, fraction=0.046, pad=0.03)
    bar.ax.tick_params(labelsize=7)
    bar.outline.set_visible(False)
    _draw_scale_bar(axis, len(image), pixel_um)


def render_png(result: Reconstruction, *, dpi: int = 100, title: str | None = None) -> bytes:
    """Render a reconstruction as a PNG: the image, and beside it the uncertainty of its pixels where that is known.

    Parameters
    ----------
    result : Reconstruction
        Image of shape (n, n).
    dpi : int, optional
        Dots per inch of panels of 3.3 x 3.7 inches (default 100).
    title : str, optional
        First line above the image (default: its method).
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    panels = 1 if result.uncertainty is None else 2
    figure = Figure(figsize=(PANEL_INCHES[0] * panels, PANEL_INCHES[1]), layout="constrained", dpi=dpi)
    FigureCanvasAgg(figure)
    axes = figure.subplots(1, panels, squeeze=False)[0]
    draw_reconstruction(axes[0], result, title or result.method)
    if result.uncertainty is not None:
        draw_uncertainty(axes[1], result, "uncertainty of each pixel")
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()


def render_html(result: Reconstruction) -> str:
    """Render a reconstruction for a notebook: its picture and the sentences of its summary.

    Parameters
    ----------
    result : Reconstruction
        Image of shape (n, n).
    """
    sentences = result.summary()
    described = html.escape(f"Image by {'; '.join(sentences[:2])}", quote=True)
    png = base64.b64encode(render_png(result)).decode()
    lines = "".join(f"<div>{html.escape(sentence)}</div>" for sentence in sentences)
    return f'<img src="data:image/png;base64,{png}" alt="{described}"/>{lines}'
