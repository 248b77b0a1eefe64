"""Several runs may be open in one RunEngine: whoever keeps the state of a run keeps it for each of them."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Any

from event_model import RunRouter

logger = logging.getLogger(__name__)

Callback = Callable[[str, Mapping[str, Any]], None]


class PerRun:
    """Give each run a callback of its own; subscribe it to a RunEngine.

    Routing is that of `event_model.RunRouter`: events arrive in pages ("event_page"). The documents of a run that
    began before this was subscribed belong to nobody and are left out.

    Parameters
    ----------
    begin : callable
        Takes a start document; returns the callback for the other documents of its run, or None to leave the run out.
    """

    def __init__(self, begin: Callable[[Mapping[str, Any]], Callback | None]) -> None:
        self._begin = begin
        self._router = RunRouter([self._make])
        self._run_of: dict[str, str] = {}  # by uid of a start, descriptor or resource
        self._uids_of: defaultdict[str, list[str]] = defaultdict(list)  # the same, by run

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        """Take one document of any run."""
        run = self._note(name, document)
        if run is None:
            logger.debug("a %s of a run that began before is left out", name)
            return
        try:
            self._router(name, document)
        finally:
            if name == "stop":
                for uid in self._uids_of.pop(run):
                    del self._run_of[uid]

    def _note(self, name: str, document: Mapping[str, Any]) -> str | None:
        """Uid of the run that a document belongs to; None for one that nobody has seen begin."""
        if name == "start":
            run: str | None = document["uid"]
        else:
            parent = document.get("run_start") or document.get("descriptor") or document.get("resource")
            run = self._run_of.get(parent) if parent is not None else None
        if run is not None and name in ("start", "descriptor", "resource", "stream_resource"):
            self._run_of[document["uid"]] = run
            self._uids_of[run].append(document["uid"])
        return run

    def _make(self, name: str, start: Mapping[str, Any]) -> tuple[list[Callback], list[Any]]:
        callback = self._begin(start)
        if callback is None:
            return [], []
        return [lambda kind, document: None if kind == "start" else callback(kind, document)], []
