"""Export a run: a file for the sample's owner, named after the run."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from .._files.atomic_write import explain_write_error, whole_file
from ..errors import CxgiError, StorageError, check_choice
from ..measurement.bucket_files.read_write import write_buckets
from ..measurement.bucket_files.table import BucketTable
from ..measurement.documents import cxgi_block
from .derived import find_newest_image, find_reconstructions
from .nexus_file import FiledRun, image_parts, write_run_file
from .read import find_run, read_documents, read_linked_dark, read_linked_exposures, read_whole_scan

logger = logging.getLogger(__name__)

Format = Literal["nexus", "hdf5", "csv", "tiff", "png", "gif"]
EXPORTS = "exports"  # folder within the data folder, of what a session exports by itself
LINKS = ("reference_uid", "dark_uid", "resumes")


def export_run(
    catalog: Any, run: Any, *, file_format: Format = "nexus", out: str | Path = ".", overwrite: bool = False
) -> Path:
    """Write a run into a file: ``run-NUMBER-UID.SUFFIX``, which appears whole or not at all.

    A run that has not ended is written as far as it is, with a warning.

    Parameters
    ----------
    catalog : tiled container
        Where the run is, its images, and the runs that belong to it.
    run : tiled container
        A run of the catalog; for "tiff" and "png" it may be a reconstruction.
    file_format : {"nexus", "hdf5", "csv", "tiff", "png", "gif"}
        "nexus" (.nxs) is the whole measurement, and "hdf5" the same file with the ending .h5; "csv" the calibrated
        buckets; "tiff" the newest image, and its uncertainty as a second page; "png" a picture of both with a scale
        bar; "gif" how the image came about with the exposures.
    out : path or str, optional
        Folder of the file, which is made if it is not there (default: where the program runs).
    overwrite : bool
        Whether a file that is already there may be replaced.

    Returns
    -------
    Path
        The file.

    Raises
    ------
    CxgiError
        If the format is unknown, the run cannot be read or does not hold what the format is for, or the file exists
        and may not be replaced, or cannot be written.
    """
    check_choice("export format", file_format, FORMATS)
    suffix, write = _FORMATS[file_format]
    target = Path(out) / _file_name(run.metadata["start"], suffix)
    with explain_write_error(target, "choose another folder (--out)"):
        target.parent.mkdir(parents=True, exist_ok=True)
        if (target.exists() or target.is_symlink()) and not overwrite:
            raise StorageError(f"{target} exists already: choose another folder, or allow it to be replaced (--force)")
        with whole_file(target) as part:
            write(catalog, run, part)
    if run.metadata.get("stop") is None:
        uid = run.metadata["start"]["uid"][:8]
        logger.warning("run %s has not ended: %s holds what was measured so far, export it again later", uid, target)
    return target


def _file_name(start: Mapping[str, Any], suffix: str) -> str:
    """A name without anything that a path could be made of, whatever the start document holds."""
    uid, number = re.sub(r"[^A-Za-z0-9]", "", str(start.get("uid", "")))[:8], start.get("scan_id")
    numbered = f"{number}-" if isinstance(number, int) and number >= 0 else ""
    return f"run-{numbered}{uid or 'unnamed'}{suffix}"


# ---------------------------------------------------------------- what is written


def _write_nexus(catalog: Any, run: Any, path: Path) -> None:
    write_nexus(catalog, run, find_reconstructions(catalog, run.metadata["start"]["uid"]), path)


def write_nexus(catalog: Any, run: Any, images: Sequence[Any], path: Path) -> None:
    """Write the NeXus file of a run.

    Parameters
    ----------
    catalog : tiled container or FiledRuns
        Where the runs are that belong to it.
    run : tiled container or FiledRun
    images : sequence of tiled container or FiledRun
        Its reconstructions, oldest first.
    path : Path
        The file; one that is there is replaced.

    Raises
    ------
    CxgiError
        If the run is a reconstruction, or cannot be read.
    """
    raw_uids = cxgi_block(run.metadata["start"]).get("raw_uids")
    if raw_uids:
        raise StorageError(
            f"run {run.metadata['start']['uid'][:8]} is a reconstruction, which the file of its raw run holds: export "
            f"{raw_uids[-1][:8]}, or this one as tiff"
        )
    write_run_file(
        path,
        _read_filed(run),
        linked=_find_linked(catalog, run),
        reconstructions=[_read_filed(image) for image in images],
        table=_table_for_people(catalog, run),
    )


def _read_filed(run: Any) -> FiledRun:
    return FiledRun([(name, dict(document)) for name, document in read_documents(run)])


def _find_linked(catalog: Any, run: Any) -> dict[str, FiledRun]:
    """Find the runs that an image is made with; one that is not there is named in a warning."""
    found: dict[str, FiledRun] = {}
    waiting = [run.metadata["start"]]
    seen = {run.metadata["start"]["uid"]}
    while waiting:
        block = cxgi_block(waiting.pop())
        for link in LINKS:
            uid = block.get(link)
            if not isinstance(uid, str) or uid in seen:
                continue
            seen.add(uid)
            try:
                other = _read_filed(find_run(catalog, uid))
            except CxgiError as error:
                logger.warning("export: the %s run %s is left out (%s)", link.removesuffix("_uid"), uid[:8], error)
                continue
            found[f"{link.removesuffix('_uid')}_{re.sub(r'[^A-Za-z0-9]', '', uid)[:8]}"] = other
            waiting.append(other.start)
    return found


def _read_table(catalog: Any, run: Any) -> BucketTable:
    """Calibrated buckets of a run, with the runs that belong to it."""
    exposures = read_whole_scan(catalog, run)
    return BucketTable.from_exposures(
        exposures,
        reference=read_linked_exposures(catalog, exposures, "reference_uid"),
        dark=read_linked_dark(catalog, exposures),
    )


def _table_for_people(catalog: Any, run: Any) -> BucketTable | None:
    """The same, None for a run that has none: its documents are in the file all the same."""
    if "pattern_set" not in cxgi_block(run.metadata["start"]):
        return None
    try:
        return _read_table(catalog, run)
    except CxgiError as error:
        logger.info("export: no calibrated buckets (%s); what was measured is in the file", error)
        return None


def _write_csv(catalog: Any, run: Any, path: Path) -> None:
    write_buckets(path, _read_table(catalog, run))


def _write_png(catalog: Any, run: Any, path: Path) -> None:
    from .run_pictures import write_png

    write_png(find_newest_image(catalog, run), path)


def _write_gif(catalog: Any, run: Any, path: Path) -> None:
    from .run_pictures import write_gif

    images = find_reconstructions(catalog, run.metadata["start"]["uid"])
    method = cxgi_block(images[-1].metadata["start"]).get("method") if images else None
    write_gif(catalog, run, path, method=method)


def _write_tiff(catalog: Any, run: Any, path: Path) -> None:
    import tifffile

    newest = find_newest_image(catalog, run)
    parts = image_parts(_read_filed(newest))
    pixel_um = cxgi_block(newest.metadata["start"]).get("pixel_um")
    pages = [parts[name] for name in ("image", "uncertainty") if name in parts]
    metadata: dict[str, Any] = {"axes": "CYX", "Channel": {"Name": ["image", "uncertainty"][: len(pages)]}}
    resolution: dict[str, Any] = {}
    if isinstance(pixel_um, int | float) and pixel_um > 0:
        metadata |= {f"PhysicalSize{axis}": pixel_um for axis in "XY"}
        metadata |= {f"PhysicalSize{axis}Unit": "µm" for axis in "XY"}
        resolution = {"resolution": (1e4 / pixel_um, 1e4 / pixel_um), "resolutionunit": "CENTIMETER"}
    stack = np.asarray(pages, np.float32)
    tifffile.imwrite(path, stack, ome=True, photometric="minisblack", metadata=metadata, **resolution)


_Writer = Callable[[Any, Any, Path], None]
_FORMATS: dict[str, tuple[str, _Writer]] = {
    "nexus": (".nxs", _write_nexus),
    "hdf5": (".h5", _write_nexus),
    "csv": (".csv", _write_csv),
    "tiff": (".tiff", _write_tiff),
    "png": (".png", _write_png),
    "gif": (".gif", _write_gif),
}
FORMATS = tuple(_FORMATS)
