"""Read the rows of a run's streams from its documents, which hold events one by one or in pages."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from ..errors import MeasurementError

Data = Mapping[str, Any]


def cxgi_block(start: Data) -> Data:
    """The block ``cxgi`` of any start document; empty for other programs, whatever they store under that name."""
    block = start.get("cxgi")
    return block if isinstance(block, Mapping) else {}


def name_scan(start: Mapping[str, Any]) -> str:
    """Name a scan for people: its number, the beginning of its uid, and that of the scan that it completes.

    Parameters
    ----------
    start : mapping
        Start document.
    """
    resumes = cxgi_block(start).get("resumes")
    parts = ("scan", start.get("scan_id"), start["uid"][:8], f"(rest of {str(resumes)[:8]})" if resumes else None)
    return " ".join(str(part) for part in parts if part)


class Row(NamedTuple):
    """An event: its stream, what identifies it there, what was read, and when (s since 1970)."""

    stream: str
    seq_num: int
    data: Data
    time: float


class EventRows:
    """Takes the documents of a run, and gives the events that are in each."""

    def __init__(self) -> None:
        self._stream_of: dict[str, str] = {}

    def __call__(self, name: str, document: Mapping[str, Any]) -> Iterator[Row]:
        """Events of one document: none, one, or those of a page."""
        if name == "descriptor":
            self._stream_of[document["uid"]] = document.get("name", "primary")
        elif name == "event":
            yield Row(self._stream_of[document["descriptor"]], document["seq_num"], document["data"], document["time"])
        elif name == "event_page":
            stream = self._stream_of[document["descriptor"]]
            for row, (seq_num, time) in enumerate(zip(document["seq_num"], document["time"], strict=True)):
                data = {key: column[row] for key, column in document["data"].items()}
                yield Row(stream, seq_num, data, time)


def number(value: Any) -> float:
    """A stored value; NaN for null, as files without NaN have it."""
    return math.nan if value is None else float(value)


def read_run(run_or_documents: Any, purpose: str, what: str) -> tuple[Data, dict[str, list[Data]]]:
    """Start document, and what was read in each stream, in order; a rewound plan repeats seq_num, the last one wins.

    Parameters
    ----------
    run_or_documents : run of the catalog, or iterable of (name, document)
    purpose : str
        `cxgi.purpose` that it must have.
    what : str
        Such a run, for messages.

    Raises
    ------
    CxgiError
        For a run of another purpose.
    """
    documents: Iterable[tuple[str, Any]] = (
        run_or_documents.documents() if hasattr(run_or_documents, "documents") else run_or_documents
    )
    start: Data = {}
    streams: dict[str, dict[int, Data]] = {}
    rows = EventRows()
    for name, document in documents:
        if name == "start":
            start = document
        for row in rows(name, document):
            streams.setdefault(row.stream, {})[row.seq_num] = row.data
    found = cxgi_block(start).get("purpose")
    if found != purpose:
        raise MeasurementError(f"the run is no {what}: its purpose is {found!r}")
    return start, {name: [stream[seq_num] for seq_num in sorted(stream)] for name, stream in streams.items()}
