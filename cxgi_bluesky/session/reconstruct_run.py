"""From a run of the catalog to an image, with the runs that belong to it, back into the catalog, and into a file."""

from __future__ import annotations

import logging
from pathlib import Path
from typing import Any

from ..catalog import (
    export_run,
    find_reconstructions,
    find_run,
    read_linked_dark,
    read_linked_exposures,
    read_whole_scan,
    record_reconstruction,
)
from ..catalog.export import EXPORTS, Format
from ..errors import ConfigError, CxgiError
from ..masks.pattern_set import PatternSet
from ..masks.speckle_files import find_speckles
from ..masks.tile_maps import TileMaps
from ..measurement.documents import cxgi_block
from ..measurement.measurement import Measurement
from ..measurement.speckle import SpeckleMeasurement
from ..reconstruction.api import reconstruct
from ..reconstruction.cross_validation import reconstruct_and_check
from ..reconstruction.registry import default_method, find_method
from ..reconstruction.result import Reconstruction

logger = logging.getLogger(__name__)


def reconstruct_run(
    catalog: Any,
    run: Any,
    *,
    method: str | None = None,
    pattern_set: PatternSet | None = None,
    reference_uid: str | None = None,
    dark_uid: str | None = None,
    tile_maps: TileMaps | None = None,
    record: bool = True,
    details: bool = False,
    residual: bool = False,
    speckles: str | Path | None = None,
    folder: str | Path | None = None,
    **options: Any,
) -> tuple[Reconstruction, str | None]:
    """Reconstruct a run, optionally from a subset of its patterns; returns image and derived run's uid.

    With a run that resumes another one, what both have measured is one image. A run with dark readings of its own
    uses those. A speckle run has the method "correlation" alone.

    Parameters
    ----------
    catalog : tiled container
    run : tiled container
        A run of the catalog.
    method : str, optional
        As in `reconstruct` (default "tv", for a speckle run "correlation").
    pattern_set : PatternSet, optional
        Patterns to use (default: all that were measured).
    reference_uid, dark_uid : str, optional
        Reference and dark scan to use, or "none" (default: those that the run names).
    tile_maps : TileMaps, optional
        Measured masks of the board, with which the buckets are predicted (default: masks as designed).
    record : bool, optional
        Store the image as a derived run (default True).
    details : bool, optional
        Estimate the uncertainty of each pixel too, which takes a few tenths of a second (default False).
    residual : bool, optional
        Look for lines and points that the image has lost (`residual_lines`; default False).
    speckles : path or str, optional
        File of the recorded patterns of a speckle run (default: as registered in `folder`).
    folder : path or str, optional
        Data folder.
    **options
        For the method.

    Returns
    -------
    (Reconstruction, str or None)
        Image of shape (n, n) with its facts, and the uid of the derived run; None if it was not stored.

    Raises
    ------
    CxgiError
        For too little data, runs that do not belong to this one, or options that a speckle run has not.
    """
    if method is not None:
        find_method(method)
    exposures = read_whole_scan(catalog, run)
    method = method or default_method(exposures.metadata.basis)
    if exposures.metadata.basis == "speckle":
        if pattern_set is not None:
            raise ConfigError("a subset by order is for Hadamard masks: a speckle run is reconstructed whole")
        asked = {"details": details or None, "residual": residual or None}
        _refuse_for_speckles(reference_uid=reference_uid, tile_maps=tile_maps, **asked)
        recorded = find_speckles(exposures.metadata.pattern_set or {}, path=speckles, folder=folder)
        dark = read_linked_dark(catalog, exposures, dark_uid)
        speckled = SpeckleMeasurement.from_exposures(exposures, recorded, dark=dark)
        result = reconstruct(speckled, method=method, **options)
    else:
        measurement = Measurement.from_exposures(
            exposures,
            reference=read_linked_exposures(catalog, exposures, "reference_uid", reference_uid),
            dark=read_linked_dark(catalog, exposures, dark_uid),
            tile_maps=tile_maps,
        )
        if pattern_set is not None:
            measurement = measurement.subset(pattern_set)
        result = reconstruct_and_check(measurement, method=method, details=details, residual=residual, **options)
    if not record:
        return result, None
    pixel_um = exposures.board.pixel_um
    return result, record_reconstruction(catalog, result, pixel_um=pixel_um, subset=pattern_set)


def export_scan(catalog: Any, uid: str, *, file_format: Format, folder: Path) -> Path:
    """Write the file of a scan that has ended, with an image: one is made and recorded if there is none.

    Parameters
    ----------
    catalog : tiled container
    uid : str
        Of the scan.
    file_format : {"nexus", "hdf5", "csv", "tiff", "png", "gif"}
    folder : Path
        Data folder; files are in its folder ``exports``.

    Raises
    ------
    CxgiError
        As `export_run`.
    """
    run = find_run(catalog, uid)
    if file_format != "csv" and not find_reconstructions(catalog, uid):
        basis = cxgi_block(run.metadata["start"])["pattern_set"].get("basis")
        try:  # a speckle image has no details
            reconstruct_run(catalog, run, details=basis == "hadamard", folder=folder)
        except CxgiError as error:
            logger.warning("run %s is exported without an image (%s)", uid[:8], error)
    return export_run(catalog, run, file_format=file_format, out=folder / EXPORTS)


def _refuse_for_speckles(**options: Any) -> None:
    given = [name for name, value in options.items() if value is not None]
    if given:
        raise ConfigError(f"{', '.join(given)}: for Hadamard masks alone, and this is a speckle run: leave it out")
