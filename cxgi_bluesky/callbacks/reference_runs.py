"""Reference scans of a session, at hand for live pictures."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

from ..exposures import Exposures

logger = logging.getLogger(__name__)


class ReferenceRuns:
    """Keep the exposures of every reference scan that passes; subscribe it to a RunEngine.

    Advisory: live pictures of an image find its reference here, without asking the catalog.
    """

    def __init__(self) -> None:
        self._runs: dict[str, Exposures] = {}
        self._open: Exposures | None = None

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        """Take one document; never raises."""
        try:
            self._take(name, document)
        except Exception as error:
            self._open = None
            logger.warning("a reference scan cannot be used for live pictures (%s)", error)

    def _take(self, name: str, document: Mapping[str, Any]) -> None:
        if name == "start":
            is_reference = (document.get("cxgi") or {}).get("purpose") == "reference"
            self._open = Exposures() if is_reference else None
        if self._open is None:
            return
        self._open(name, document)
        if name == "stop":
            self.keep(self._open)
            self._open = None

    def keep(self, exposures: Exposures) -> None:
        """Keep a run that was read from elsewhere: a reference, or a scan that is to be resumed."""
        self._runs[exposures.start["uid"]] = exposures

    def get(self, uid: str | None) -> Exposures | None:
        """The run with this uid, None if it is not known."""
        return None if uid is None else self._runs.get(uid)
