"""From the documents of an `align_board` run to the alignment."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ...errors import CxgiError, MeasurementError, StorageError
from ...masks.board import MaskBoard
from ...masks.board_files import to_yaml_text
from ...measurement.documents import Data, number, read_run
from ...measurement.schema import RunMetadata
from .fit import AlignmentFit, EdgeFit, Visit, fit_alignment, fit_edges
from .search import landmarks_of

PURPOSE = "alignment"
SEARCH, ALONG_X, ALONG_Y = "search", "along_x", "along_y"  # streams
AXES = {ALONG_X: "x", ALONG_Y: "y"}
_COUNTED = ("dark", SEARCH, *AXES)


def alignment_from_run(run_or_documents: Any) -> AlignmentFit:
    """Fit the alignment of the board to a run of `align_board`.

    Parameters
    ----------
    run_or_documents : run of the catalog, or iterable of (name, document)

    Raises
    ------
    CxgiError
        If the run is no alignment or was cut short, or does not fix the alignment.
    """
    start, streams = read_run(run_or_documents, PURPOSE, "alignment of a board")
    metadata = RunMetadata.from_start(start)
    board = MaskBoard.from_dict((metadata.alignment or {})["board"])
    landmarks_of(board)
    fields = metadata.data_keys
    dark = _dark(fields, streams.get("dark", []))
    edges: dict[int, dict[str, EdgeFit]] = defaultdict(dict)
    landmark_of: dict[int, int] = {}
    for stream, axis in AXES.items():
        for visit, rows in _by_visit(streams.get(stream, []), fields["visit"]).items():
            landmark_of[visit] = int(rows[0][fields["landmark"]])
            position = [1000 * float(row[fields[axis]]) for row in rows]
            value, sigma = np.array([reading(row, fields, dark) for row in rows]).T
            try:
                edges[visit][axis] = fit_edges(position, value, sigma, board=board)
            except CxgiError as error:
                cell = board.fiducials[landmark_of[visit]]
                raise MeasurementError(f"fiducial {cell} along {axis}: {error}") from error
    visits = [Visit(landmark_of[n], **found) for n, found in sorted(edges.items()) if set(found) == set(AXES.values())]
    return fit_alignment(
        board, visits, exposures=sum(len(streams.get(name, [])) for name in _COUNTED), uid=str(start.get("uid", ""))
    )


def reading(data: Mapping[str, Any], fields: Mapping[str, Any], dark: float) -> tuple[float, float]:
    """Bucket without the dark and its sigma, over the incident intensity where it was read.

    Parameters
    ----------
    data : mapping
        Data of one event.
    fields : mapping
        Data keys of ``bucket``, ``sigma`` and ``i0``, the last may be missing.
    dark : float
        Bucket without beam, in the unit of the bucket.

    Returns
    -------
    bucket, sigma : float
        In the bucket's unit, over that of I0 where there is one; both NaN where I0 is not positive.
    """
    i0 = number(data.get(fields["i0"])) if fields.get("i0") else 1.0
    if not i0 > 0:
        return math.nan, math.nan
    return (number(data.get(fields["bucket"])) - dark) / i0, number(data.get(fields["sigma"])) / i0


def _dark(fields: Mapping[str, Any], rows: list[Data]) -> float:
    readings = [number(row.get(fields["bucket"])) for row in rows]
    readings = [value for value in readings if math.isfinite(value)]
    return float(np.mean(readings)) if readings else 0.0


def _by_visit(rows: list[Data], key: str) -> dict[int, list[Data]]:
    visits: dict[int, list[Data]] = defaultdict(list)
    for row in rows:
        visits[int(row[key])].append(row)
    return visits


# ---------------------------------------------------------------- writing


def write_aligned_board(board: MaskBoard, fit: AlignmentFit, path: str | Path) -> Path:
    """Write a board file with the alignment that was found.

    Parameters
    ----------
    board : MaskBoard
        The board that was aligned, as in its file.
    fit : AlignmentFit
    path : path or str
        A new file, ``.yaml`` or ``.yml``.

    Raises
    ------
    CxgiError
        If the file exists or cannot be written, or the fit is of another board.
    """
    path = Path(path)
    if board.sha256 != fit.board.sha256:
        raise MeasurementError(
            f"the alignment is of board {fit.board.name!r} as another file says it, not of {board.name!r}"
        )
    if path.suffix not in (".yaml", ".yml"):
        raise MeasurementError(f"board file {path}: call it .yaml or .yml")
    comment = f"# Alignment found by align_board, run {fit.uid or 'unknown'}.\n# {fit}\n"
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(comment + to_yaml_text(fit.aligned_board.to_dict()))
    except FileExistsError:
        raise MeasurementError(f"board file {path} exists: an old board file is kept, choose another name") from None
    except OSError as error:
        raise StorageError(f"board file {path} cannot be written ({error.strerror})") from error
    return path
