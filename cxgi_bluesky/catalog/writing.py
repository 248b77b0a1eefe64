"""Documents of runs into Tiled."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

BATCH_SIZE = 64  # exposures between two writes; what lies between is in the journal


@contextmanager
def import_warnings_silenced() -> Iterator[None]:
    """Deprecations inside the stack are no news to our user."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def run_writer(catalog: Any, *, batch_size: int = BATCH_SIZE) -> Callable[[str, Mapping[str, Any]], None]:
    """Callback that writes documents into the catalog in batches; critical: its errors end the scan."""
    with import_warnings_silenced():
        from bluesky_tiled_plugins import TiledWriter

    writer: Callable[[str, Mapping[str, Any]], None] = TiledWriter(catalog, batch_size=batch_size, max_array_size=0)
    return writer
