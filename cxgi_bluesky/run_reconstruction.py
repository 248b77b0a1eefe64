"""From a run of the catalog to a picture, with the runs that belong to it, and back into the catalog."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from .catalog import linked_exposures, read_exposures, record_reconstruction
from .errors import CxgiError
from .exposures import Exposures
from .measurement import Measurement
from .patterns import PatternSet
from .reconstruction import Reconstruction, check_method, default_method, reconstruct
from .reconstruction.held_out import checked_reconstruction
from .speckle_assets import find_speckles
from .speckle_measurement import SpeckleMeasurement
from .tile_maps import TileMaps


def reconstruct_run(
    catalog: Any,
    run: Any,
    *,
    method: str | None = None,
    pattern_set: PatternSet | None = None,
    reference_uid: str | None = None,
    tile_maps: TileMaps | None = None,
    record: bool = True,
    details: bool = False,
    speckles: str | Path | None = None,
    folder: str | Path | None = None,
    **options: Any,
) -> tuple[Reconstruction, str | None]:
    """Reconstruct a run, optionally from a subset of its patterns; returns image and derived run's uid.

    The reference and dark scans that the run names are used; `reference_uid` names another reference, or "none".
    With `tile_maps`, measured masks of the board, the picture predicts the buckets with them. With `details`, the
    uncertainty of each pixel comes along (a few tenths of a second). The method is by default "tv"; a speckle run
    has "correlation" alone, from the recorded patterns in the file `speckles` or, where none is given, those
    registered in the data folder `folder`.
    """
    if method is not None:
        check_method(method)
    exposures = read_exposures(run)
    method = method or default_method(exposures.basis)
    if exposures.basis == "speckle":
        if pattern_set is not None:
            raise CxgiError("a subset by order is for Hadamard masks: a speckle run is reconstructed whole")
        result = _speckle_picture(exposures, method, speckles, folder, options)
    else:
        measurement = Measurement.from_exposures(
            exposures,
            reference=linked_exposures(catalog, exposures, "reference_uid", reference_uid),
            dark=linked_exposures(catalog, exposures, "dark_uid"),
            tile_maps=tile_maps,
        )
        if pattern_set is not None:
            measurement = measurement.subset(pattern_set)
        result = checked_reconstruction(measurement, method=method, details=details, **options)
    if not record:
        return result, None
    pixel_um = exposures.start["cxgi"]["board"]["pixel_um"]
    return result, record_reconstruction(catalog, result, pixel_um=pixel_um, subset=pattern_set)


def _speckle_picture(
    exposures: Exposures,
    method: str,
    path: str | Path | None,
    folder: str | Path | None,
    options: dict[str, Any],
) -> Reconstruction:
    recorded = find_speckles(exposures.start["cxgi"]["pattern_set"], path=path, folder=folder)
    return reconstruct(SpeckleMeasurement.from_exposures(exposures, recorded), method=method, **options)
