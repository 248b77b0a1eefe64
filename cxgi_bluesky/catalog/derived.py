"""Reconstructions in the catalog: derived runs of their own."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ..errors import StorageError
from ..measurement.documents import cxgi_block
from .journal import Document
from .tiled_adapter import catalog_errors, short
from .writer import writer_of

if TYPE_CHECKING:
    from ..masks.pattern_set import PatternSet
    from ..reconstruction.result import Reconstruction


def record_reconstruction(
    catalog: Any,
    reconstruction: Reconstruction,
    *,
    pixel_um: float | None,
    subset: PatternSet | None = None,
    request: Mapping[str, Any] | None = None,
) -> str:
    """Store a reconstruction as a derived run of its own; returns its uid.

    The start document names the raw runs, the method, its parameters, the subset of the patterns
    if it was not all of them, a digest of the patterns used, and the pixel size at the object; the one
    event holds the image, and the unmeasured part and the uncertainty where they are known. The raw runs
    are not touched.

    Parameters
    ----------
    catalog : tiled container
    reconstruction : Reconstruction
        Its image and maps have the shape (n, n).
    pixel_um : float or None
        Pixel size at the object (um); None: not known.
    subset : PatternSet, optional
        Patterns that were used (default: all of the raw runs).
    request : mapping, optional
        How the image was asked for, in plain values, by which another of the same kind is told (default: not known).

    Raises
    ------
    CxgiError
        For a catalog that `open_catalog` has not opened.
    OSError
        If the journal cannot be written.
    """
    documents = compose_reconstruction(reconstruction, pixel_um=pixel_um, subset=subset, request=request)
    writer_of(catalog).write_runs([documents])
    return str(documents[0][1]["uid"])


def compose_reconstruction(
    reconstruction: Reconstruction,
    *,
    pixel_um: float | None,
    subset: PatternSet | None = None,
    request: Mapping[str, Any] | None = None,
) -> list[Document]:
    """Compose the documents of a derived run, the start document first.

    Parameters
    ----------
    reconstruction, pixel_um, subset, request
        As for `record_reconstruction`.
    """
    from event_model import compose_run

    from ..measurement.schema import SCHEMA  # pydantic takes its time

    named = {
        "image": reconstruction.image,
        "unmeasured": reconstruction.unmeasured,
        "uncertainty": reconstruction.uncertainty,
    }
    images = {name: np.ascontiguousarray(image, dtype="<f8") for name, image in named.items() if image is not None}
    metadata = {
        "plan_name": "reconstruct",
        "cxgi": {
            "schema": SCHEMA,
            "purpose": "reconstruction",
            "raw_uids": list(reconstruction.source.get("raw_uids", [])),
            "method": reconstruction.method,
            "parameters": dict(reconstruction.parameters),
            "scale": reconstruction.scale,
            "size": len(images["image"]),
            "exposures": reconstruction.exposures,
            "seconds": reconstruction.seconds,
            "quality": dict(reconstruction.quality),
            "uncertainty_kind": reconstruction.uncertainty_kind,
            "left_out_because": dict(reconstruction.source.get("left_out_because", {})),
            "reference_uids": list(reconstruction.source.get("reference_uids", [])),
            "tile_maps_sha256": reconstruction.source.get("tile_maps_sha256"),
            "pixel_um": pixel_um,
            "subset": subset.to_dict() if subset is not None else None,
            "patterns_sha256": _digest(reconstruction.pattern_index),
            "request": None if request is None else dict(request),
        },
    }
    run = compose_run(metadata=metadata)
    unit = "" if reconstruction.scale == "relative" else "1"
    keys = {
        name: {
            "source": f"cxgi:{reconstruction.method}",
            "dtype": "array",
            "shape": list(image.shape),
            "dtype_numpy": "<f8",
            "units": unit,
        }
        for name, image in images.items()
    }
    stream = run.compose_descriptor(name="primary", data_keys=keys)
    event = stream.compose_event(data=images, timestamps=dict.fromkeys(images, run.start_doc["time"]))
    documents = [("start", run.start_doc), ("descriptor", stream.descriptor_doc), ("event", event)]
    return [*documents, ("stop", run.compose_stop())]


def _digest(pattern_index: NDArray[np.int64] | None) -> str | None:
    """Digest of the patterns that an image was made from, in the order of their indices."""
    if pattern_index is None:
        return None
    return hashlib.sha256(np.sort(pattern_index).astype("<i8").tobytes()).hexdigest()


def find_reconstructions(catalog: Any, uid: str) -> list[Any]:
    """Find the derived runs that were made of a run, oldest first.

    Parameters
    ----------
    catalog : tiled container
    uid : str
        Whole uid of the raw run.
    """
    from tiled.queries import Contains

    with catalog_errors():
        found = list(catalog.search(Contains("cxgi.raw_uids", uid)).values())
    return sorted(found, key=lambda run: float(run.metadata["start"]["time"]))


def find_newest_image(catalog: Any, run: Any) -> Any:
    """Find the newest reconstruction of a run, which may be one itself; of a run that was resumed, of it alone.

    Where there is none of it alone, it is the newest one that it has a part in.

    Parameters
    ----------
    catalog : tiled container
    run : tiled container
        A run of the catalog.

    Raises
    ------
    CxgiError
        If there is none.
    """
    start = run.metadata["start"]
    images = [run] if "raw_uids" in cxgi_block(start) else find_reconstructions(catalog, start["uid"])
    if not images:
        raise StorageError(f"run {start['uid'][:8]} has no image yet: cxgi reconstruct {start['uid'][:8]} first")
    own = [image for image in images if cxgi_block(image.metadata["start"])["raw_uids"][-1:] == [start["uid"]]]
    return (own or images)[-1]


def read_image(run: Any, part: str = "image") -> np.ndarray[Any, Any]:
    """Read the image of a derived run, shape (n, n).

    Parameters
    ----------
    run : tiled container
        A derived run.
    part : {"image", "unmeasured", "uncertainty"}
        Which of its images (default: the image itself).

    Raises
    ------
    CxgiError
        If it holds no image, or the image cannot be read.
    """
    start = run.metadata["start"]
    with catalog_errors():
        try:
            return np.asarray(run["primary"][part].read()).reshape(cxgi_block(start)["size"], -1)
        except (KeyError, TypeError, ValueError) as error:
            raise StorageError(
                f"run {start.get('uid')} holds no {part} that can be read ({short(error)}): are its arrays there?"
            ) from error
