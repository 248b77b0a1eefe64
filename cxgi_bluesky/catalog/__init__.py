"""The embedded databroker catalog: a folder with an SQLite database, no server needed.

databroker 2 is a thin layer over Tiled, so a catalog is a Tiled tree. It is written while a scan
runs and may be read by other processes at the same time.
"""

from .derived import (
    compose_reconstruction,
    find_newest_image,
    find_reconstructions,
    read_image,
    record_reconstruction,
)
from .export import export_run
from .nexus_file import read_run_file
from .open import DATA_VARIABLE, data_folder, data_location, open_catalog, prepare_writer, recover_journals
from .query import choose_runs
from .read import (
    NO_LINK,
    describe,
    describe_run,
    find_named_run,
    find_run,
    last_scan,
    last_scan_id,
    list_runs,
    read_all_runs,
    read_exposures,
    read_exposures_of_kind,
    read_linked_dark,
    read_linked_exposures,
    read_whole_scan,
    summarise,
)
from .recovery import Recovery, waiting_runs
from .tiled_adapter import BATCH_SIZE, catalog_errors, catalog_problem, run_writer
from .writer import CatalogWriter, RunStore, writer_of

__all__ = [
    "BATCH_SIZE",
    "DATA_VARIABLE",
    "NO_LINK",
    "CatalogWriter",
    "Recovery",
    "RunStore",
    "catalog_errors",
    "catalog_problem",
    "choose_runs",
    "compose_reconstruction",
    "data_folder",
    "data_location",
    "describe",
    "describe_run",
    "export_run",
    "find_named_run",
    "find_newest_image",
    "find_reconstructions",
    "find_run",
    "last_scan",
    "last_scan_id",
    "list_runs",
    "open_catalog",
    "prepare_writer",
    "read_all_runs",
    "read_exposures",
    "read_exposures_of_kind",
    "read_image",
    "read_linked_dark",
    "read_linked_exposures",
    "read_run_file",
    "read_whole_scan",
    "record_reconstruction",
    "recover_journals",
    "run_writer",
    "summarise",
    "waiting_runs",
    "writer_of",
]
