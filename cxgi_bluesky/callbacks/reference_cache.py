"""Reference scans of a session, at hand for live pictures."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from ..measurement.documents import cxgi_block
from ..measurement.exposures import Exposures
from ..measurement.per_run import Callback, PerRun

logger = logging.getLogger(__name__)


class ReferenceRuns:
    """Keep the exposures of every reference scan that passes; subscribe it to a RunEngine.

    Advisory: live pictures of an image find its reference here, without asking the catalog.
    """

    def __init__(self) -> None:
        self._runs: dict[str, Exposures] = {}
        self._router = PerRun(self._begin)

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        """Take one document; never raises."""
        try:
            self._router(name, document)
        except Exception as error:
            logger.warning("a reference scan cannot be used for live pictures (%s)", error)

    def _begin(self, start: Mapping[str, Any]) -> Callback | None:
        if cxgi_block(start).get("purpose") != "reference":
            return None
        exposures = Exposures()
        exposures("start", start)

        def take(name: str, document: Mapping[str, Any]) -> None:
            exposures(name, document)
            if name == "stop":
                self.keep(exposures)

        return take

    def keep(self, exposures: Exposures) -> None:
        """Keep a run that was read from elsewhere: a reference, or a scan that is to be resumed."""
        self._runs[exposures.start["uid"]] = exposures

    def get(self, uid: str | None) -> Exposures | None:
        """The run with this uid, None if it is not known."""
        return None if uid is None else self._runs.get(uid)
