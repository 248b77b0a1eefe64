"""The RunEngine of a session: every run goes into the journal, then into the catalog."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from typing import Any

from bluesky import RunEngine
from bluesky.suspenders import SuspendBoolHigh, SuspendBoolLow, SuspendFloor

from ..catalog import RunStore, last_scan_id, writer_of
from .engine_metadata import SCAN_ID, EngineMetadata

STAMPED_PACKAGES = ("cxgi_bluesky", "bluesky-tiled-plugins", "databroker", "tiled", "numpy", "torch")


def make_run_engine(catalog: Any) -> RunEngine:
    """A RunEngine that numbers its scans, stamps package versions into every run and stores it, journal first.

    Metadata (``RE.md``) and the number of the last scan are kept in the data folder.
    """
    writer = writer_of(catalog)
    metadata = EngineMetadata(writer.folder)
    if SCAN_ID not in metadata:
        metadata[SCAN_ID] = last_scan_id(catalog)
    engine = RunEngine(metadata, scan_id_source=metadata.next_scan_id)
    versions = engine.md["versions"]
    for package in STAMPED_PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "unknown"
    store_runs(engine, catalog)
    return engine


def store_runs(engine: RunEngine, catalog: Any) -> None:
    """Store every run of an engine, which is otherwise left as it is.

    Parameters
    ----------
    engine : RunEngine
    catalog : tiled container
        Opened by `open_catalog`.
    """
    engine.subscribe(RunStore(writer_of(catalog)))


# ---------------------------------------------------------------- suspenders


RECOVERED = 1.02  # of the least current: one that hovers there does not start and stop the scan


def source_suspenders(source: Any) -> list[Any]:
    """Suspenders for a RunEngine from a source's signals.

    Parameters
    ----------
    source : Device
        With `ready`, `ready_value`, `current`, `at_least_ma`, `wait_s`, as `EpicsSource`.
    """
    suspenders: list[Any] = []
    if source.ready is not None:
        kind = SuspendBoolLow if source.ready_value else SuspendBoolHigh
        suspenders.append(kind(source.ready, sleep=source.wait_s, tripped_message=f"{source.name} is not ready"))
    if source.current is not None:
        floor = source.at_least_ma
        message = f"{source.name}: less than {floor:g} mA"
        words = {"resume_thresh": RECOVERED * floor, "sleep": source.wait_s, "tripped_message": message}
        suspenders.append(SuspendFloor(source.current, floor, **words))
    return suspenders
