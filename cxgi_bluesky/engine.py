"""The RunEngine of a session: every run goes into the journal, then into the catalog."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from bluesky import RunEngine

from .catalog import RunStore

STAMPED_PACKAGES = ("cxgi_bluesky", "bluesky-tiled-plugins", "databroker", "tiled", "numpy", "torch")


def make_run_engine(catalog: Any, folder: Path) -> RunEngine:
    """A RunEngine that stamps package versions into every run and stores it, journal first."""
    engine = RunEngine({})
    versions = engine.md.setdefault("versions", {})
    for package in STAMPED_PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            versions[package] = "unknown"
    engine.subscribe(RunStore(catalog, folder))
    return engine
