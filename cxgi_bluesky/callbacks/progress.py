"""Progress of a scan on the terminal."""

from __future__ import annotations

import logging
import sys
from collections.abc import Mapping
from typing import Any, TextIO

logger = logging.getLogger(__name__)


class ScanProgress:
    """A progress bar on stderr: exposures done, time left, bucket of the last exposure. Advisory."""

    def __init__(self, stream: TextIO | None = None) -> None:
        self._stream = stream
        self._bar: Any = None
        self._primary: str | None = None
        self._bucket = self._index = self._unit = ""
        self._seen: set[int] = set()

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        """Take one document; never raises."""
        try:
            self._take(name, document)
        except Exception as error:
            logger.debug("progress bar: %s", error)

    def _take(self, name: str, document: Mapping[str, Any]) -> None:
        if name == "start" and "pattern_set" in (document.get("cxgi") or {}):
            from tqdm import tqdm

            words = document["cxgi"]
            self._bucket, self._index = words["fields"]["bucket"], words["fields"]["pattern_index"]
            self._seen, self._primary = set(), None
            title = f"scan {document.get('scan_id', '')} {document['uid'][:8]}"
            total = document.get("num_points", words["pattern_set"]["count"])
            stream = self._stream or sys.stderr
            pause = 0.5 if stream.isatty() else 10.0  # a log file wants few lines
            self._bar = tqdm(total=total, desc=title, unit="exp", file=stream, mininterval=pause)
        elif self._bar is None:
            return
        elif name == "descriptor" and document.get("name") == "primary":
            self._primary = document["uid"]
            self._unit = (document.get("data_keys", {}).get(self._bucket) or {}).get("units") or ""
        elif name == "event" and document["descriptor"] == self._primary:
            self._seen.add(document["data"][self._index])
            self._bar.set_postfix_str(f"{document['data'][self._bucket]:.3f} {self._unit}", refresh=False)
            self._bar.update(len(self._seen) - self._bar.n)
        elif name == "stop":
            self._bar.set_postfix_str(document["exit_status"])
            self._bar.close()
            self._bar = None
