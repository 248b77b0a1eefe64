"""Pictures of a run: a PNG of its newest image, and how it came about with the exposures, as animated GIF."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from ..errors import StorageError
from ..measurement.documents import EventRows, cxgi_block, number
from ..measurement.exposures import FIGURES, Exposures
from ..measurement.measurement import Measurement
from ..reconstruction.api import reconstruct
from ..reconstruction.drawing import render_png
from ..reconstruction.registry import METHODS, TV
from ..reconstruction.result import Reconstruction
from .nexus_file import FiledRun, image_parts
from .read import read_documents, read_linked_dark, read_linked_exposures, read_whole_scan

FRAMES = 24
FRAME_MS, LAST_FRAME_MS = 250, 3000
MIN_PATTERNS = 8  # of the first frame
_OPEN_S = next(key for key, name in FIGURES.items() if name == "open_s")


def write_png(derived: Any, path: Path) -> None:
    """Write the image of a derived run, with scale bar, uncertainty and what its data say of it.

    Parameters
    ----------
    derived : tiled container
        A reconstruction.
    path : Path
        Of the file.
    """
    filed = FiledRun([(name, dict(document)) for name, document in read_documents(derived)])
    parts, block = image_parts(filed), cxgi_block(filed.start)
    image = Reconstruction(
        parts["image"],
        block.get("scale", "relative"),
        str(block.get("method", "?")),
        block.get("parameters") or {},
        number(block.get("seconds")),
        int(block.get("exposures", 0)),
        quality=block.get("quality") or {},
        source={"pixel_um": block.get("pixel_um")},
        uncertainty=parts.get("uncertainty"),
        uncertainty_kind=block.get("uncertainty_kind"),
    )
    path.write_bytes(render_png(image, dpi=150))


def write_gif(catalog: Any, run: Any, path: Path, *, method: str | None = None) -> None:
    """Write the images of growing numbers of exposures, each made from the first ones of the scan alone.

    Of the readings beside the patterns, dark, incident intensity and metal are those of the whole scan.

    Parameters
    ----------
    catalog : tiled container
        Where the runs are that belong to it.
    run : tiled container
        A scan with Hadamard masks.
    path : Path
        Of the file.
    method : str, optional
        Of `reconstruct` (default "tv").

    Raises
    ------
    CxgiError
        For a run with other patterns, or with too few.
    """
    from PIL import Image

    exposures = read_whole_scan(catalog, run)
    uid = exposures.start["uid"][:8]
    if exposures.metadata.basis != "hadamard":
        raise StorageError(
            f"run {uid} is of recorded patterns: an animation is made of scans with Hadamard masks alone"
        )
    linked: dict[str, Any] = {
        "reference": read_linked_exposures(catalog, exposures, "reference_uid"),
        "dark": read_linked_dark(catalog, exposures),
    }
    method = method if method in METHODS else TV.name
    frames = []
    for part, open_s in _growing(exposures, run):
        image = reconstruct(Measurement.from_exposures(part, **linked), method=method)
        shown = render_png(image, title=f"{method}, shutter open {open_s:.0f} s")
        frames.append(Image.open(io.BytesIO(shown)).convert("L").convert("P"))
    if not frames:
        raise StorageError(f"run {uid} has {len(exposures)} patterns: an animation needs {MIN_PATTERNS} at least")
    durations = [FRAME_MS] * (len(frames) - 1) + [LAST_FRAME_MS]
    frames[0].save(path, format="GIF", save_all=True, append_images=frames[1:], duration=durations, loop=0)


def _growing(exposures: Exposures, run: Any) -> Iterator[tuple[Exposures, float]]:
    """Give the scan as it was after growing numbers of exposures, and for how long the shutter had been open (s)."""
    patterns = sorted(exposures.streams["primary"].items(), key=lambda item: item[1].time)
    if len(patterns) < MIN_PATTERNS:
        return
    before = sum(
        figures.get("open_s", 0.0) for uid, figures in exposures.figures_of.items() if uid != exposures.uids[-1]
    )
    opened = _open_times(run)
    for count in np.unique(np.linspace(max(MIN_PATTERNS, len(patterns) // FRAMES), len(patterns), FRAMES).astype(int)):
        part = exposures.snapshot()
        part.streams["primary"] = dict(patterns[:count])
        part.wanted = set()
        at = patterns[count - 1][1].time
        part.streams["open"] = {key: one for key, one in part.streams["open"].items() if one.time <= at}
        yield part, before + max((open_s for time, open_s in opened if time <= at), default=0.0)


def _open_times(run: Any) -> list[tuple[float, float]]:
    """When events of the run were, and how long the shutter had been open until then (s)."""
    rows = EventRows()
    return [
        (row.time, number(row.data[_OPEN_S]))
        for name, document in read_documents(run)
        for row in rows(name, document)
        if _OPEN_S in row.data
    ]
