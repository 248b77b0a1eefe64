"""What this package adds to Tiled: batches of documents, and its failures as one error with a remedy."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from traceback import walk_tb
from typing import Any

from ..errors import CxgiError, StorageError
from ..measurement.documents import cxgi_block

BATCH_SIZE = 128  # exposures between two writes, at most; what lies between is in the journal
MAX_DELAY_S = 30.0  # who reads a scan that is under way sees what is older than that
_OF_THE_CATALOG = ("sqlite3", "sqlalchemy", "aiosqlite", "adbc_driver_manager", "httpx", "tiled", "zarr")
_CATALOG = ("tiled", "bluesky_tiled_plugins")
_silence = threading.RLock()


def batch_size(start: Mapping[str, Any]) -> int:
    """Return the exposures between two writes of a run: few if they take long, as others read it meanwhile."""
    exposure_s = cxgi_block(start).get("exposure_s")
    if not isinstance(exposure_s, int | float) or not exposure_s > 0:
        return BATCH_SIZE
    return max(1, min(BATCH_SIZE, int(MAX_DELAY_S / exposure_s)))


@contextmanager
def silence_import_warnings() -> Iterator[None]:
    """Hide deprecations inside the stack, which our user cannot mend; one thread at a time.

    `warnings` knows no threads: of two the first that ends would take the other's filters away. Nor does alembic, by
    which Tiled makes its tables.
    """
    with _silence, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def run_writer(catalog: Any, *, batch_size: int = BATCH_SIZE) -> Callable[[str, Mapping[str, Any]], None]:
    """Return a callback that writes documents into the catalog in batches; critical: its errors end the scan.

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
    with silence_import_warnings():
        from bluesky_tiled_plugins import TiledWriter

    writer: Callable[[str, Mapping[str, Any]], None] = TiledWriter(catalog, batch_size=batch_size, max_array_size=0)
    return writer


# ---------------------------------------------------------------- failures


def short(error: BaseException) -> str:
    """Describe an error in one line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:200] if lines else '-'}"


def catalog_problem(error: BaseException) -> CxgiError | None:
    """Return the error to show for one that comes out of the catalog; None for all others."""
    if _package(type(error).__module__) not in _OF_THE_CATALOG and not _is_of_the_catalog(error):
        return None
    import httpx

    text = short(error)
    if isinstance(error, httpx.TransportError):
        return StorageError(
            f"the catalog's server does not answer ({text}): start it again; exposures that it did not take are in the "
            "journal, and stored as soon as it answers"
        )
    if "locked" in str(error) or "busy" in str(error):
        return StorageError(f"the catalog is locked by another process ({text}): wait for that, and try again")
    return StorageError(f"the catalog cannot be read ({text}): bring the damaged or missing file back from a copy")


def _package(module: str) -> str:
    return module.partition(".")[0]


def _is_of_the_catalog(error: BaseException) -> bool:
    """Return whether it was raised below Tiled's code, which takes what is in its databases to be whole."""
    frames = walk_tb(error.__traceback__)
    return any(_package(frame.f_globals.get("__name__", "")) in _CATALOG for frame, _ in frames)


@contextmanager
def catalog_errors() -> Iterator[None]:
    """Turn what goes wrong in the catalog into one error with a remedy.

    Raises
    ------
    CxgiError
        For every failure of its databases, files or server.
    """
    try:
        yield
    except Exception as error:
        problem = catalog_problem(error)
        if problem is None:
            raise
        raise problem from error
