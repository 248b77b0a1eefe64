"""Several runs may be open in one RunEngine: whoever keeps the state of a run keeps it for each of them."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

logger = logging.getLogger(__name__)

Callback = Callable[[str, Mapping[str, Any]], None]


class PerRun:
    """Give each run a callback of its own; subscribe it to a RunEngine.

    As `event_model.RunRouter`, for a hundredth of its time; events stay what they are, one by one or in pages. What
    belongs to a run that began before this was subscribed is left out.

    Parameters
    ----------
    begin : callable
        Takes a start document; returns the callback for the other documents of its run, or None to leave the run out.
    """

    def __init__(self, begin: Callable[[Mapping[str, Any]], Callback | None]) -> None:
        self._begin = begin
        self._runs: dict[str, Callback | None] = {}
        self._run_of: dict[str, str] = {}  # by uid of a descriptor or resource
        self._said = False

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        """Take one document of any run."""
        if name == "start":
            self._said = False
            self._runs[document["uid"]] = self._begin(document)
            return
        run = self._note(name, document)
        callback = self._runs.get(run)
        try:
            if callback is not None:
                callback(name, document)
            elif run not in self._runs and not self._said:
                self._said = True
                whose = getattr(self._begin, "__qualname__", self._begin)
                logger.warning("%s: a run that began before it was subscribed is left out", whose)
        finally:
            if name == "stop":
                self._forget(run)

    def _note(self, name: str, document: Mapping[str, Any]) -> str:
        """Uid of the run that a document belongs to; empty if nobody knows."""
        run = document.get("run_start")
        if run is None:
            return self._run_of.get(document.get("descriptor") or document.get("resource") or "", "")
        if name != "stop":
            self._run_of[document["uid"]] = run
        return str(run)

    def _forget(self, run: str) -> None:
        self._runs.pop(run, None)
        for uid in [uid for uid, of in self._run_of.items() if of == run]:
            del self._run_of[uid]
