"""Runs of the catalog for the pages: the list from the index, images, documents and files of a run.

Everything here may take its time, and is called in threads.
"""

from __future__ import annotations

import json
import tempfile
import threading
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, get_args

import numpy as np

from ..catalog import find_run, list_runs, read_image, summarise, waiting_runs
from ..catalog.export import Format, export_run
from ..catalog.follow import StoredRuns
from ..catalog.open import is_server
from ..catalog.recovery import read_documents
from ..catalog.run_index import IndexedRun, RunIndex
from ..catalog.tiled_adapter import catalog_errors
from ..errors import CxgiError, StorageError
from ..measurement.documents import cxgi_block
from ..reconstruction.result import Reconstruction
from .images import PngStore, grey_ends, grey_png, scale_bar, uncertainty_png

LISTED = 5000  # newest runs
KEPT_S = 5.0  # so long a server's list is taken for what it has
PARTS = ("image", "uncertainty")
FORMATS: tuple[str, ...] = get_args(Format)


@dataclass
class Scan:
    """A run that is no reconstruction, and the reconstructions of it, oldest first."""

    run: IndexedRun
    summary: dict[str, Any]
    images: list[IndexedRun] = field(default_factory=list)
    searched: str = ""  # text in which a search looks

    @property
    def newest_image(self) -> str | None:
        """Uid of the newest reconstruction."""
        return str(self.images[-1].start["uid"]) if self.images else None


class RunPages:
    """What the pages show of the runs in a data folder, or on a server.

    Parameters
    ----------
    stored : StoredRuns
        Where they are; its catalog is opened at the first need.
    pngs : PngStore
        Where images are kept.
    """

    def __init__(self, stored: StoredRuns, pngs: PngStore) -> None:
        self._stored, self._pngs = stored, pngs
        self._index = None if is_server(stored.location) else RunIndex(stored.folder.resolve())
        self._listed: list[Scan] = []
        self._described: dict[str, dict[str, Any]] = {}  # reconstructions, which never change
        self._state: Any = None
        self._list_lock, self._catalog_lock = threading.Lock(), threading.Lock()

    # ------------------------------------------------------------ the list

    def scans(self, search: str = "") -> list[Scan]:
        """List the scans that have all the words, newest first.

        Parameters
        ----------
        search : str, optional
            Words, in any order (default: all scans).

        Raises
        ------
        CxgiError
            If the runs cannot be read.
        """
        wanted = search.lower().split()
        return [scan for scan in self._all() if all(word in scan.searched for word in wanted)]

    def _all(self) -> list[Scan]:
        with self._list_lock:
            state = time.monotonic() // KEPT_S if self._index is None else self._index.catalog_state()
            if state != self._state or not state:
                self._listed, self._state = _group(self._runs()), state
            return self._listed

    def _runs(self) -> list[IndexedRun]:
        if self._index is not None:
            if not self._index.catalog_state():
                return []  # no catalog yet
            if (found := self._index.newest(LISTED)) is None:
                list_runs(self._stored.folder, last=1)  # makes the index anew
                found = self._index.newest(LISTED)
            if found is not None:
                return found[0]
        with self._catalog_lock, catalog_errors():
            newest = self._stored.catalog.values().tail(LISTED)
            return [IndexedRun(dict(run.metadata["start"]), run.metadata.get("stop")) for run in newest]

    def find(self, uid: str) -> Scan:
        """Return the scan of a uid, or the one that a reconstruction of this uid was made of.

        Raises
        ------
        CxgiError
            If there is none.
        """
        for scan in self._all():
            if uid == scan.summary["uid"] or any(uid == image.start["uid"] for image in scan.images):
                return scan
        raise StorageError(f"there is no run {uid!r} among the newest {LISTED}")

    def find_rest(self, uid: str) -> str | None:
        """Find the scan that completes another one: its uid; None if there is none.

        Parameters
        ----------
        uid : str
        """
        return next((scan.summary["uid"] for scan in self._all() if scan.summary["resumes"] == uid), None)

    def waiting(self) -> int:
        """Count the runs that wait to be recovered."""
        return 0 if self._index is None else len(waiting_runs(self._stored.folder))

    # ------------------------------------------------------------ one run

    def open_catalog(self) -> None:
        """Open the catalog, if there is one; nothing later has to wait for it.

        Raises
        ------
        CxgiError
            If it cannot be opened.
        """
        if self._index is not None and not self._index.catalog_state():
            return
        with self._catalog_lock:
            self._stored.open()

    def png(self, uid: str, part: str) -> bytes:
        """Make the PNG of a reconstruction, or of its uncertainty, to be laid over it; from memory if it was made.

        Parameters
        ----------
        uid : str
            Of the derived run.
        part : {"image", "uncertainty"}

        Raises
        ------
        CxgiError
            If there is none.
        """
        make = grey_png if part == "image" else uncertainty_png
        return self._pngs.get_or_make(f"{uid}/{part}", lambda: make(self._read(uid, part)))

    def _read(self, uid: str, part: str) -> np.ndarray[Any, Any]:
        with self._catalog_lock:
            return read_image(find_run(self._stored.catalog, uid), part)

    def describe_images(self, scan: Scan) -> list[dict[str, Any]]:
        """Describe the reconstructions of a scan for its page, newest first.

        Parameters
        ----------
        scan : Scan

        Returns
        -------
        list of dict
        """
        return [self._describe_or_say_why_not(image) for image in reversed(scan.images)]

    def _describe_or_say_why_not(self, run: IndexedRun) -> dict[str, Any]:
        uid, method = run.start["uid"], cxgi_block(run.start).get("method")
        if uid not in self._described:
            try:
                self._described[uid] = self._describe_image(run)
            except CxgiError as error:
                return {"uid": uid, "method": method, "problem": str(error)}
        return self._described[uid]

    def _describe_image(self, run: IndexedRun) -> dict[str, Any]:
        start, block = run.start, cxgi_block(run.start)
        has_sigma = block.get("uncertainty_kind") is not None
        image = self._read(start["uid"], "image")
        low, high = grey_ends(image)
        known = _reconstruction(image, block)
        return {
            "uid": start["uid"],
            "time": start["time"],
            "method": known.method,
            "scale": known.scale,
            "exposures": known.exposures,
            "size": len(image),
            "seconds": known.seconds,
            "low": low,
            "high": high,
            "bar": scale_bar(len(image), block.get("pixel_um")),
            "has_uncertainty": has_sigma,
            "uncertainty_kind": block.get("uncertainty_kind"),
            "uncertainty": float(np.median(self._read(start["uid"], "uncertainty"))) if has_sigma else None,
            "psnr": known.psnr_claim,
            "held_out": known.quality.get("held_out"),
            "misfit": known.quality.get("data_misfit"),
            "mark": known.mark,
            "cautions": list(known.unlike_training),
            "parameters": known.parameters,
        }

    def file_of_image(self, uid: str) -> tuple[str, bytes]:
        """Make the PNG of a reconstruction for who takes it away: enlarged, and marked if its data do not support it.

        Returns
        -------
        (str, bytes)
            Name and content.
        """
        with self._catalog_lock:
            run = find_run(self._stored.catalog, uid)
            image, block = read_image(run), cxgi_block(run.metadata["start"])
        with tempfile.TemporaryDirectory() as folder:
            name = f"{_plain_name(block.get('method'))}-{_plain_name(uid)[:8]}.png"
            return name, _reconstruction(image, block).save(Path(folder) / name).read_bytes()

    def file_of_run(self, uid: str, file_format: str) -> tuple[str, bytes]:
        """Export a run, or the image of a reconstruction; returns name and content.

        Parameters
        ----------
        uid : str
        file_format : {"nexus", "hdf5", "csv", "tiff"}

        Raises
        ------
        CxgiError
            As `export_run`.
        """
        kind: Any = file_format
        with tempfile.TemporaryDirectory() as folder, self._catalog_lock:
            catalog = self._stored.catalog
            path = export_run(catalog, find_run(catalog, uid), file_format=kind, out=folder)
            return path.name, path.read_bytes()

    def documents(self, uid: str) -> list[dict[str, Any]]:
        """Read start, descriptors and stop of a run: all but its events.

        Raises
        ------
        CxgiError
            If they cannot be read.
        """
        with self._catalog_lock:
            documents: Iterable[tuple[str, Any]] = read_documents(self._stored.catalog, uid)
            kept = ("start", "descriptor", "stop")
            return [{"name": name, "document": dict(document)} for name, document in documents if name in kept]


def _group(runs: list[IndexedRun]) -> list[Scan]:
    """Put each reconstruction to its scan; newest scan first."""
    scans: dict[str, Scan] = {}
    derived = []
    for run in runs:
        summary = summarise(run)
        if summary["raw_uids"]:
            derived.append((run, summary))
        else:
            scans[summary["uid"]] = Scan(run, summary, searched=_searched_text(run.start, summary))
    for run, summary in derived:
        scan = next((scans[uid] for uid in reversed(summary["raw_uids"]) if uid in scans), None)
        if scan is not None:
            scan.images.append(run)
            scan.searched += f" {summary['method']}".lower()
    return list(reversed(scans.values()))


def _searched_text(start: Mapping[str, Any], summary: Mapping[str, Any]) -> str:
    """What can be searched: texts and numbers of the start document, the day, and what the list shows."""
    day = time.strftime("%Y-%m-%d %H:%M", time.localtime(summary["time"]))
    own = [str(value) for value in start.values() if isinstance(value, str | int)]
    shown = [str(summary[name]) for name in ("purpose", "board", "exit_status")]
    return " ".join([*own, *shown, day]).lower()


def _reconstruction(image: np.ndarray[Any, Any], block: Mapping[str, Any]) -> Reconstruction:
    scale: Any = block.get("scale", "relative")
    parameters, quality = (json.loads(json.dumps(block.get(name) or {})) for name in ("parameters", "quality"))
    facts = (str(block.get("method", "?")), parameters, block.get("seconds") or 0.0, block.get("exposures") or 0)
    return Reconstruction(image, scale, *facts, quality=quality)


def _plain_name(value: Any) -> str:
    return "".join(c for c in str(value) if c.isascii() and (c.isalnum() or c == "-"))
