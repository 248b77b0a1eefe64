"""From a run of the catalog to an image, with the runs that belong to it, back into the catalog, and into a file."""

from __future__ import annotations

import hashlib
import json
import logging
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from .. import __version__
from ..catalog import (
    compose_reconstruction,
    export_run,
    find_reconstructions,
    find_run,
    read_linked_dark,
    read_linked_exposures,
    read_whole_scan,
    writer_of,
)
from ..catalog.export import EXPORTS, Format
from ..catalog.open import check_may_write
from ..errors import ConfigError, CxgiError
from ..masks.pattern_set import PatternSet
from ..masks.speckle_files import find_speckles
from ..masks.tile_maps import TileMaps
from ..measurement.documents import cxgi_block
from ..measurement.measurement import Measurement
from ..measurement.speckle import SpeckleMeasurement
from ..reconstruction import ch_mwcnn
from ..reconstruction.api import reconstruct
from ..reconstruction.cross_validation import reconstruct_and_check_many
from ..reconstruction.registry import CH_MWCNN, default_method, find_method
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
        For too little data, runs that do not belong to this one, options that a speckle run has not, or an image that
        is to be stored on a server whose key only reads.
    """
    request = ImageRequest(
        method=method,
        pattern_set=pattern_set,
        reference_uid=reference_uid,
        dark_uid=dark_uid,
        tile_maps=tile_maps,
        details=details,
        residual=residual,
        speckles=speckles,
        options=options,
    )
    if record:
        check_may_write(catalog)
    result = request.make_image(request.prepare(catalog, run, folder=folder))
    return result, request.record_together(catalog, [(run.metadata["start"], result)])[0] if record else None


# ---------------------------------------------------------------- what is asked for


@dataclass(frozen=True, kw_only=True)
class ImageRequest:
    """How the images of runs are to be made: parameters of `reconstruct_run`; the same for any number of runs."""

    method: str | None = None
    pattern_set: PatternSet | None = None
    reference_uid: str | None = None
    dark_uid: str | None = None
    tile_maps: TileMaps | None = None
    details: bool = False
    residual: bool = False
    speckles: str | Path | None = None
    options: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.method is not None:
            find_method(self.method)

    def prepare(self, catalog: Any, run: Any, *, folder: str | Path | None = None) -> Measurement | SpeckleMeasurement:
        """Read what an image of a run is made from.

        Parameters
        ----------
        catalog : tiled container
        run : tiled container
            A run of the catalog.
        folder : path or str, optional
            Data folder, where recorded speckle patterns are registered.

        Raises
        ------
        CxgiError
            As `reconstruct_run`.
        """
        exposures = read_whole_scan(catalog, run)
        if exposures.metadata.basis == "speckle":
            self._refuse_for_speckles()
            recorded = find_speckles(exposures.metadata.pattern_set or {}, path=self.speckles, folder=folder)
            dark = read_linked_dark(catalog, exposures, self.dark_uid)
            return SpeckleMeasurement.from_exposures(exposures, recorded, dark=dark)
        measurement = Measurement.from_exposures(
            exposures,
            reference=read_linked_exposures(catalog, exposures, "reference_uid", self.reference_uid),
            dark=read_linked_dark(catalog, exposures, self.dark_uid),
            tile_maps=self.tile_maps,
        )
        return measurement if self.pattern_set is None else measurement.subset(self.pattern_set)

    def make_image(self, measurement: Measurement | SpeckleMeasurement) -> Reconstruction:
        """Make the image of a run.

        Parameters
        ----------
        measurement : Measurement or SpeckleMeasurement
            Of `prepare`.
        """
        if isinstance(measurement, SpeckleMeasurement):
            return reconstruct(measurement, method=self.method, **self.options)
        return self._make_and_check([measurement])[0]

    def make_images(self, measurements: Sequence[Measurement | SpeckleMeasurement]) -> list[Reconstruction]:
        """Make the images of several runs; the network takes them together, which changes them by rounding alone.

        Parameters
        ----------
        measurements : sequence of Measurement or SpeckleMeasurement
            Of `prepare`.
        """
        masked = [one for one in measurements if isinstance(one, Measurement)]
        if len(masked) == len(measurements):
            return self._make_and_check(masked)
        return [self.make_image(one) for one in measurements]

    def _make_and_check(self, measurements: Sequence[Measurement]) -> list[Reconstruction]:
        method, checks = self.method or default_method("hadamard"), {"details": self.details, "residual": self.residual}
        return reconstruct_and_check_many(measurements, method=method, **checks, **self.options)

    def record_together(self, catalog: Any, images: Iterable[tuple[Mapping[str, Any], Reconstruction]]) -> list[str]:
        """Store images of runs as derived runs, in one transaction; returns their uids.

        Parameters
        ----------
        catalog : tiled container
        images : iterable of (mapping, Reconstruction)
            Of each the start document of its run, and the image.
        """
        runs = [
            compose_reconstruction(
                image,
                pixel_um=image.source["pixel_um"],
                subset=self.pattern_set,
                request=self.describe(start),
            )
            for start, image in images
        ]
        writer_of(catalog).write_runs(runs)
        return [str(documents[0][1]["uid"]) for documents in runs]

    def describe(self, start: Mapping[str, Any]) -> dict[str, Any]:
        """Describe how the image of a run is made, in plain values: equal descriptions give equal images.

        Parameters
        ----------
        start : mapping
            Start document of the run.

        Raises
        ------
        CxgiError
            If a weights file cannot be read.
        """
        pattern_set = cxgi_block(start).get("pattern_set")
        basis = pattern_set.get("basis", "hadamard") if isinstance(pattern_set, Mapping) else "hadamard"
        method = self.method or default_method(basis)
        options = {name: value for name, value in self.options.items() if name != "weights"}
        return {
            "run_uid": start["uid"],
            "version": __version__,
            "method": method,
            "options": {name: _plain(value) for name, value in sorted(options.items())},
            "weights_sha256": self.weights_sha256,
            "subset": None if self.pattern_set is None else self.pattern_set.to_dict(),
            "reference_uid": self.reference_uid,
            "dark_uid": self.dark_uid,
            "tile_maps_sha256": None if self.tile_maps is None else self.tile_maps.sha256,
            "details": self.details,
            "residual": self.residual,
        }

    @cached_property
    def weights_sha256(self) -> str | None:
        """Digest of the network's weights file; None for other methods.

        Raises
        ------
        CxgiError
            If it cannot be read.
        """
        return digest_of_weights(self.options.get("weights")) if self.method == CH_MWCNN.name else None

    def _refuse_for_speckles(self) -> None:
        if self.pattern_set is not None:
            raise ConfigError("a subset by order is for Hadamard masks: a speckle run is reconstructed whole")
        asked = {
            "reference_uid": self.reference_uid,
            "tile_maps": self.tile_maps,
            "details": self.details or None,
            "residual": self.residual or None,
        }
        if given := [name for name, value in asked.items() if value is not None]:
            raise ConfigError(f"{', '.join(given)}: for Hadamard masks alone, and this is a speckle run: leave it out")


def _plain(value: Any) -> Any:
    """A value as JSON gives it back; of an array or object, what tells it from others."""
    if isinstance(value, np.ndarray):
        return f"{value.dtype} {list(value.shape)} sha256 {hashlib.sha256(value.tobytes()).hexdigest()}"
    return json.loads(json.dumps(value, default=str))


def digest_of_weights(weights: str | Path | None) -> str:
    """Return the sha256 of a weights file, by default the shipped one; without loading torch.

    Raises
    ------
    CxgiError
        If it cannot be read.
    """
    path = Path(weights) if weights is not None else Path(ch_mwcnn.__path__[0]) / "data" / "ch_mwcnn.safetensors"
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError as error:
        raise ConfigError(f"weights {path} cannot be read ({error})") from error


# ---------------------------------------------------------------- files


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
