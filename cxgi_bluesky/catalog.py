"""The embedded databroker catalog: a folder with an SQLite database, no server needed.

databroker 2 is a thin layer over Tiled, so a catalog is a Tiled tree. It is written while a scan
runs and may be read by other processes at the same time.
"""

from __future__ import annotations

import logging
import os
import uuid
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from .errors import CxgiError
from .exposures import SCHEMA, Exposures
from .journal import Document, left_over
from .patterns import PatternSet
from .reconstruction.result import Reconstruction

logger = logging.getLogger(__name__)

DATA_VARIABLE = "CXGI_DATA"
NO_LINK = "none"  # instead of a run's uid
BATCH_SIZE = 32  # exposures between two writes; what lies between is in the journal


def data_folder(folder: str | Path | None = None) -> Path:
    """Where runs are kept: the folder given, else ``CXGI_DATA``, else the user's data folder."""
    if folder is not None:
        return Path(folder)
    if os.environ.get(DATA_VARIABLE):
        return Path(os.environ[DATA_VARIABLE])
    from platformdirs import user_data_path

    return user_data_path("cxgi_bluesky", appauthor=False)


def _writable(folder: Path) -> Path:
    """Make the folder and write to it, so that a scan never starts without a place for its data."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe-{uuid.uuid4().hex}"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise CxgiError(
            f"data folder {folder} cannot be written ({error}): give another with --data or {DATA_VARIABLE}"
        ) from error
    return folder.resolve()


def _tree_config(folder: Path) -> dict[str, Any]:
    """Tiled configuration of the embedded catalog."""
    return {
        "trees": [
            {
                "path": "/",
                "tree": "catalog",
                "args": {
                    "uri": f"sqlite:///{folder}/catalog.db",
                    "writable_storage": [f"file://localhost{folder}/arrays", f"sqlite:///{folder}/tables.db"],
                    "init_if_not_exists": True,
                    "specs": [{"name": "CatalogOfBlueskyRuns", "version": "3.0"}],
                },
            }
        ],
        "media_types": {"BlueskyRun": {"application/json-seq": "bluesky_tiled_plugins.exporters:json_seq_exporter"}},
    }


def _write_profile(folder: Path, config: dict[str, Any]) -> None:
    """A Tiled profile, so that plain ``databroker.catalog["cxgi"]`` opens the same catalog.

    It is found when the environment variable TILED_PROFILES names the folder ``profiles``.
    """
    profile = folder / "profiles" / "cxgi.yml"
    text = yaml.safe_dump({"cxgi": {"direct": config}}, sort_keys=False)
    if not profile.exists() or profile.read_text(encoding="utf-8") != text:  # new, or the folder has moved
        profile.parent.mkdir(exist_ok=True)
        profile.write_text(text, encoding="utf-8")


@contextmanager
def _import_warnings_silenced() -> Iterator[None]:
    """Deprecations inside the stack are no news to our user."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def open_catalog(folder: str | Path | None = None) -> Any:
    """Open the catalog in a folder, making it if there is none; runs that were cut off are recovered.

    Returns
    -------
    CatalogOfBlueskyRuns
        The databroker catalog: ``catalog[uid]``, ``catalog[-1]``, ``catalog.search(...)``.

    Raises
    ------
    CxgiError
        If the folder cannot be written.
    """
    place = _writable(data_folder(folder))
    (place / "arrays").mkdir(exist_ok=True)
    config = _tree_config(place)
    _write_profile(place, config)
    with _import_warnings_silenced():
        from tiled.client import from_context
        from tiled.client.context import Context
        from tiled.server.app import build_app_from_config

        logging.getLogger("tiled.server.app").setLevel(logging.WARNING)  # no greeting on stderr
        catalog = from_context(Context.from_app(build_app_from_config(config)))
    recover_journals(catalog, place)
    return catalog


def journal_folder(folder: Path) -> Path:
    """Where the journals of a data folder are."""
    return folder / "journal"


def recover_journals(catalog: Any, folder: Path) -> list[str]:
    """Store the runs that were cut off, whole and with exit status "abort"; returns their uids.

    What the catalog already has of such a run is replaced by what its journal has, which is more.
    """
    recovered = []
    for path, documents in left_over(journal_folder(folder)):
        uid = documents[0][1]["uid"]
        try:
            _replace_run(catalog, uid, documents)
        except Exception as error:  # one bad journal must not keep the catalog shut
            logger.error("run %s could not be recovered (%s); its journal stays at %s", uid[:8], error, path)
            continue
        path.unlink()
        recovered.append(uid)
        count = sum(name == "event" for name, _ in documents)
        logger.warning("run %s had been cut off: its %d exposures were recovered from the journal", uid[:8], count)
    return recovered


def _replace_run(catalog: Any, uid: str, documents: list[Document]) -> None:
    if uid in catalog:
        catalog.delete_contents([uid], recursive=True, external_only=False)
    writer = run_writer(catalog)
    for name, document in documents:
        writer(name, document)


def run_writer(catalog: Any) -> Callable[[str, Mapping[str, Any]], None]:
    """Callback that writes documents into the catalog in batches; critical: its errors end the scan."""
    with _import_warnings_silenced():
        from bluesky_tiled_plugins import TiledWriter

    writer: Callable[[str, Mapping[str, Any]], None] = TiledWriter(catalog, batch_size=BATCH_SIZE, max_array_size=0)
    return writer


# ---------------------------------------------------------------- reading


def find_run(catalog: Any, uid: str) -> Any:
    """The run whose uid is or begins with `uid`.

    Raises
    ------
    CxgiError
        If there is none, or more than one.
    """
    try:
        return catalog[uid]
    except (KeyError, ValueError) as error:
        raise CxgiError(f"run {uid!r} is not in the catalog ({error}): cxgi runs lists them") from error


def last_scan(catalog: Any) -> Any:
    """The newest mask scan.

    Raises
    ------
    CxgiError
        If there is none yet.
    """
    from tiled.queries import Key

    try:
        return catalog.search(Key("cxgi.purpose") == "image").values().last()
    except IndexError:
        raise CxgiError("no scan in the catalog: run one first") from None


def read_exposures(run: Any) -> Exposures:
    """Everything a mask scan has measured, through the same code as live.

    Raises
    ------
    CxgiError
        If the run is no mask scan; for a reconstruction the message names its raw run.
    """
    words = run.metadata["start"].get("cxgi") or {}
    if "raw_uids" in words:
        raise CxgiError(
            f"run {run.metadata['start']['uid']} is a reconstruction: reconstruct its raw run {words['raw_uids'][0]}"
        )
    return Exposures.from_documents(run.documents())


def linked_exposures(catalog: Any, exposures: Exposures, link: str, uid: str | None = None) -> Exposures | None:
    """Exposures of the run that belongs to an image: the one named, else that of its start document.

    Parameters
    ----------
    catalog : tiled container
    exposures : Exposures
        Of the image.
    link : {"reference_uid", "dark_uid"}
        Key of the start document.
    uid : str, optional
        Of another run than the start document names, or "none" for no run at all.

    Raises
    ------
    CxgiError
        If the run is not in the catalog or of another kind.
    """
    uid = exposures.start["cxgi"].get(link) if uid is None else uid
    if uid is None or uid == NO_LINK:
        return None
    linked = read_exposures(find_run(catalog, uid))
    purpose, expected = linked.start["cxgi"].get("purpose"), link.removesuffix("_uid")
    if purpose != expected:
        raise CxgiError(f"run {uid} is no {expected} scan (purpose {purpose!r}): name another one, or {NO_LINK!r}")
    return linked


def summarise(run: Any) -> dict[str, Any]:
    """What a list of runs shows: uid, time, purpose, and what it measured or was made from."""
    start, stop = run.metadata["start"], run.metadata.get("stop") or {}
    words = start.get("cxgi") or {}
    pattern_set = words.get("pattern_set") or {}
    return {
        "uid": start["uid"],
        "time": start["time"],
        "scan_id": start.get("scan_id"),
        "purpose": words.get("purpose"),
        "sample": start.get("sample"),
        "board": (words.get("board") or {}).get("id"),
        "size": pattern_set.get("size") or words.get("size"),
        "patterns": pattern_set.get("count"),
        "exposures": (stop.get("num_events") or {}).get("primary")
        if "raw_uids" not in words
        else words.get("exposures"),
        "method": words.get("method"),
        "raw_uids": words.get("raw_uids"),
        "exit_status": stop.get("exit_status", "unfinished"),
    }


# ---------------------------------------------------------------- derived runs


def record_reconstruction(
    catalog: Any, reconstruction: Reconstruction, *, pixel_um: float | None, subset: PatternSet | None = None
) -> str:
    """Store a reconstruction as a derived run of its own; returns its uid.

    The start document names the raw runs, the method, its parameters, the subset of the patterns
    if it was not all of them, and the pixel size at the object; the one event holds the image, and
    the unmeasured part and the uncertainty where they are known. The raw runs are not touched.
    """
    from event_model import compose_run

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
    writer = run_writer(catalog)
    writer("start", run.start_doc)
    writer("descriptor", stream.descriptor_doc)
    writer("event", event)
    writer("stop", run.compose_stop())
    return str(run.start_doc["uid"])


def read_image(run: Any) -> np.ndarray[Any, Any]:
    """Image of a derived run, shape (n, n)."""
    return np.asarray(run["primary"]["image"].read()).reshape(run.metadata["start"]["cxgi"]["size"], -1)
