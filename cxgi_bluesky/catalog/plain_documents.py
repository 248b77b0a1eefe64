"""Documents of any plan as journal and catalog keep them: what they cannot hold becomes text, and a warning says so."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any

import numpy as np

from ..measurement.plain_values import is_utf8, plain_or_text

logger = logging.getLogger(__name__)

_ROWS = ("event", "event_page")  # their numbers go into tables, which hold NaN, infinity and large ones as they are


class PlainDocuments:
    """Makes the documents of one run plain; a warning names each value that becomes text, once.

    Parameters
    ----------
    uid : str
        Of the run.
    """

    def __init__(self, uid: str) -> None:
        self._uid = uid
        self._said: set[str] = set()

    def __call__(self, name: str, document: Mapping[str, Any]) -> dict[str, Any]:
        """The same document with plain values; the one that was given stays as it is."""
        if name not in _ROWS:
            return dict(self._plain(name, document, ""))
        odd = {key: value for key, value in document["data"].items() if not _fits_a_table(value)}
        if not odd:
            return dict(document)
        return {**document, "data": {**document["data"], **self._plain(name, odd, "data")}}

    def _plain(self, name: str, values: Mapping[str, Any], within: str) -> dict[str, Any]:
        plain, changed = plain_or_text(values, within)
        new = {key: why for key, why in changed.items() if key not in self._said}
        if new:
            self._said |= new.keys()
            what = ", ".join(f"{key} {why}" for key, why in new.items())
            logger.warning("run %s, %s: %s; kept as text (NaN as null)", self._uid[:8], name, what)
        return dict(plain)


def _fits_a_table(value: Any) -> bool:
    if value is None or isinstance(value, int | float):  # numpy's own become such in the journal
        return True
    if isinstance(value, str):
        return is_utf8(value)
    if isinstance(value, np.ndarray | np.generic):
        return value.dtype.kind in "biuf" or (value.dtype.kind == "U" and _fits_a_table(value.tolist()))
    return isinstance(value, list | tuple) and all(map(_fits_a_table, value))
