"""A file of each scan, written at its end."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from ..measurement.documents import cxgi_block
from ..measurement.per_run import Callback, PerRun

logger = logging.getLogger(__name__)

END_S = 60.0  # so long a process waits at its end


class RunExport:
    """Write a file of each image scan when it ends; subscribe it to a RunEngine, after what stores the runs.

    Advisory: the RunEngine's thread only starts the work, a thread of its own does it. An export that fails is a
    warning, kept in `failure`, and never touches a scan. The end of the process waits for what is being written.

    Parameters
    ----------
    export : callable
        Takes the uid of a run that is stored, writes its file and returns the path.

    Attributes
    ----------
    files : list of Path
        What was written, oldest first.
    failure : Exception or None
        Why the last export that failed did.
    """

    def __init__(self, export: Callable[[str], Path]) -> None:
        self.files: list[Path] = []
        self.failure: Exception | None = None
        self._export = export
        self._router = PerRun(self._begin)
        self._threads: list[threading.Thread] = []
        self._one_at_a_time = threading.Lock()
        self._registered = False

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        """Take one document; never raises."""
        try:
            self._router(name, document)
        except Exception as error:
            logger.warning("a run is not exported (%s)", error)

    def _begin(self, start: Mapping[str, Any]) -> Callback | None:
        block = cxgi_block(start)
        if block.get("purpose", "image") != "image" or "pattern_set" not in block:
            return None
        uid = str(start["uid"])

        def take(name: str, _: Mapping[str, Any]) -> None:
            if name == "stop":
                self._start(uid)

        return take

    def _start(self, uid: str) -> None:
        if not self._registered:  # before the catalog's own threads end; atexit would come too late
            threading._register_atexit(self.wait)  # type: ignore[attr-defined]
            self._registered = True
        thread = threading.Thread(target=self._work, args=(uid,), name=f"export-{uid[:8]}", daemon=True)
        self._threads = [*(one for one in self._threads if one.is_alive()), thread]
        thread.start()

    def wait(self, timeout: float = END_S) -> list[Path]:
        """Wait, after a scan, for its file; returns all that were written."""
        for thread in list(self._threads):
            thread.join(timeout)
        return list(self.files)

    # ------------------------------------------------------------ the thread of an export

    def _work(self, uid: str) -> None:
        with self._one_at_a_time:
            try:
                path = self._export(uid)
            except Exception as error:
                self.failure = error
                logger.warning("run %s has no file (%s); it is stored: cxgi export %s", uid[:8], error, uid[:8])
            else:
                self.files.append(path)
                logger.info("run %s -> %s", uid[:8], path)
