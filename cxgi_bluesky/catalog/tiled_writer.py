"""Documents of runs into Tiled."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from ..measurement.documents import cxgi_block

BATCH_SIZE = 128  # exposures between two writes, at most; what lies between is in the journal
FRESH_S = 30.0  # who reads a scan that is under way sees what is older than that


def batch_size(start: Mapping[str, Any]) -> int:
    """Exposures between two writes of a run: few if they take long, as others read it meanwhile."""
    exposure_s = cxgi_block(start).get("exposure_s")
    if not isinstance(exposure_s, int | float) or not exposure_s > 0:
        return BATCH_SIZE
    return max(1, min(BATCH_SIZE, int(FRESH_S / exposure_s)))


@contextmanager
def import_warnings_silenced() -> Iterator[None]:
    """Deprecations inside the stack are no news to our user."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def run_writer(catalog: Any, *, batch_size: int = BATCH_SIZE) -> Callable[[str, Mapping[str, Any]], None]:
    """Callback that writes documents into the catalog in batches; critical: its errors end the scan.

    Parameters
    ----------
    catalog : tiled container
    batch_size : int, optional
        Events between two writes (default 128).

    Returns
    -------
    callable
        Takes name and document of one run.
    """
    with import_warnings_silenced():
        from bluesky_tiled_plugins import TiledWriter

    writer: Callable[[str, Mapping[str, Any]], None] = TiledWriter(catalog, batch_size=batch_size, max_array_size=0)
    return writer
