"""From the documents of an `align_board` run to the alignment."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from ..board import MaskBoard
from ..errors import CxgiError
from .fit import AlignmentFit, Visit, fit_alignment
from .orientation import landmarks_of
from .profile import EdgeFit, fit_edges

PURPOSE = "alignment"
SEARCH, ALONG_X, ALONG_Y = "search", "along_x", "along_y"  # streams
AXES = {ALONG_X: "x", ALONG_Y: "y"}
_COUNTED = ("dark", SEARCH, *AXES)

Rows = dict[int, Mapping[str, Any]]


def alignment_from_run(run_or_documents: Any) -> AlignmentFit:
    """Fit the alignment of the plate to a run of `align_board`.

    Parameters
    ----------
    run_or_documents : run of the catalog, or iterable of (name, document)

    Raises
    ------
    CxgiError
        If the run is no alignment or was cut short, or the plate cannot be told from it.
    """
    documents = run_or_documents.documents() if hasattr(run_or_documents, "documents") else run_or_documents
    start, streams = _collect(documents)
    words = start["cxgi"]
    board = MaskBoard.from_dict(words[PURPOSE]["board"])
    landmarks_of(board)
    fields, dark = words["fields"], _dark(words["fields"], streams["dark"])
    edges: dict[int, dict[str, EdgeFit]] = defaultdict(dict)
    landmark_of: dict[int, int] = {}
    for stream, axis in AXES.items():
        for visit, rows in _by_visit(streams[stream], fields["visit"]).items():
            landmark_of[visit] = int(rows[0][fields["landmark"]])
            position = [1000 * float(row[fields[axis]]) for row in rows]
            value, sigma = np.array([reading(row, fields, dark) for row in rows]).T
            try:
                edges[visit][axis] = fit_edges(position, value, sigma, board=board)
            except CxgiError as error:
                place = board.fiducials[landmark_of[visit]]
                raise CxgiError(f"fiducial {place} along {axis}: {error}") from error
    visits = [Visit(landmark_of[n], **found) for n, found in sorted(edges.items()) if set(found) == set(AXES.values())]
    return fit_alignment(
        board, visits, exposures=sum(len(streams[name]) for name in _COUNTED), uid=str(start.get("uid", ""))
    )


def reading(data: Mapping[str, Any], fields: Mapping[str, Any], dark: float) -> tuple[float, float]:
    """Bucket without the dark and its sigma, over the incident intensity where it was read."""
    i0 = _number(data.get(fields["i0"])) if fields["i0"] else 1.0
    if not i0 > 0:
        return math.nan, math.nan
    return (_number(data.get(fields["bucket"])) - dark) / i0, _number(data.get(fields["sigma"])) / i0


def _dark(fields: Mapping[str, Any], rows: Rows) -> float:
    readings = [_number(row.get(fields["bucket"])) for row in rows.values()]
    readings = [value for value in readings if math.isfinite(value)]
    return float(np.mean(readings)) if readings else 0.0


def _by_visit(rows: Rows, key: str) -> dict[int, list[Mapping[str, Any]]]:
    visits: dict[int, list[Mapping[str, Any]]] = defaultdict(list)
    for seq_num in sorted(rows):
        visits[int(rows[seq_num][key])].append(rows[seq_num])
    return visits


def _collect(documents: Iterable[tuple[str, Mapping[str, Any]]]) -> tuple[Mapping[str, Any], dict[str, Rows]]:
    """Start document and the data of each stream; a rewound plan repeats seq_num, and the last one wins."""
    start: Mapping[str, Any] = {}
    name_of: dict[str, str] = {}
    streams: dict[str, Rows] = defaultdict(dict)
    for name, document in documents:
        if name == "start":
            start = document
        elif name == "descriptor":
            name_of[document["uid"]] = document.get("name", "primary")
        elif name == "event":
            streams[name_of[document["descriptor"]]][document["seq_num"]] = document["data"]
        elif name == "event_page":
            for i, seq_num in enumerate(document["seq_num"]):
                row = {key: column[i] for key, column in document["data"].items()}
                streams[name_of[document["descriptor"]]][seq_num] = row
    purpose = (start.get("cxgi") or {}).get("purpose")
    if purpose != PURPOSE:
        raise CxgiError(f"the run is no alignment of a board: its purpose is {purpose!r}")
    return start, streams


def _number(value: Any) -> float:
    return math.nan if value is None else float(value)
