"""Runs into the journal, then into the catalog."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from ..errors import CxgiError
from ..journal import Journal

BATCH_SIZE = 32  # exposures between two writes; what lies between is in the journal


@contextmanager
def import_warnings_silenced() -> Iterator[None]:
    """Deprecations inside the stack are no news to our user."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def run_writer(catalog: Any) -> Callable[[str, Mapping[str, Any]], None]:
    """Callback that writes documents into the catalog in batches; critical: its errors end the scan."""
    with import_warnings_silenced():
        from bluesky_tiled_plugins import TiledWriter

    writer: Callable[[str, Mapping[str, Any]], None] = TiledWriter(catalog, batch_size=BATCH_SIZE, max_array_size=0)
    return writer


def journal_folder(folder: Path) -> Path:
    """Where the journals of a data folder are."""
    return folder / "journal"


class RunStore:
    """Every document into the journal, then into the catalog. Critical: what cannot be stored ends the scan.

    Of a run that the catalog did not take whole the journal is left over, for `recover_journals`.

    Parameters
    ----------
    catalog : tiled container
    folder : Path
        Data folder.

    Raises
    ------
    CxgiError
        When called, if the catalog does not take a document.
    """

    def __init__(self, catalog: Any, folder: Path) -> None:
        self._journal, self._write = Journal(journal_folder(folder)), run_writer(catalog)
        self._whole = True

    def __call__(self, name: str, document: Mapping[str, Any]) -> None:
        """Store one document."""
        if name == "start":
            self._whole = True
        try:
            self._journal(name, document)
            self._into_the_catalog(name, document)
        except BaseException:
            self._whole = False
            raise
        finally:
            if name == "stop":
                self._end()

    def _into_the_catalog(self, name: str, document: Mapping[str, Any]) -> None:
        try:
            self._write(name, document)
        except Exception as error:
            raise CxgiError(
                f"the catalog does not take the run ({type(error).__name__}: {error}); every exposure is in "
                f"{self._journal.path}. Mend it; the run is stored when it is next asked for, and resume_scan goes on"
            ) from error

    def _end(self) -> None:
        if self._whole:
            self._journal.forget()
        else:
            self._journal.close()
