"""Opening a catalog: where it is, its making, and the recovery of runs that were cut off."""

from __future__ import annotations

import logging
import os
import re
import uuid
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from ..errors import CxgiError
from ..journal import Document, left_over
from .server import is_server, open_server
from .writing import import_warnings_silenced, journal_folder, run_writer

logger = logging.getLogger(__name__)

DATA_VARIABLE = "CXGI_DATA"


def data_place(data: str | Path | None = None) -> str | Path | None:
    """What was given, else ``CXGI_DATA``: a folder or a server's address; None: the user's data folder."""
    return data if data is not None else os.environ.get(DATA_VARIABLE) or None


def data_folder(data: str | Path | None = None) -> Path:
    """Where runs are kept: the folder given, else ``CXGI_DATA``, else the user's data folder.

    Of a server it is where this machine keeps journals and live pictures of its runs, a folder for each address.
    """
    place = data_place(data)
    if place is not None and not is_server(place):
        return Path(place)
    from platformdirs import user_data_path

    folder = user_data_path("cxgi_bluesky", appauthor=False)
    return folder if place is None else folder / "servers" / re.sub(r"\W+", "-", str(place).partition("://")[2])


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


def _marker(folder: Path) -> Path:
    return folder / "catalog.tiled-version"


def _tiled_version() -> str:
    return f"tiled {version('tiled')}\n"


def _was_made_by_this_tiled(folder: Path) -> bool:
    """Whether the database was made or checked by this version of Tiled: seconds are saved if it need not ask again."""
    database, marker = folder / "catalog.db", _marker(folder)
    try:
        return database.stat().st_size > 0 and marker.read_text(encoding="utf-8") == _tiled_version()
    except OSError:
        return False


def open_catalog(data: str | Path | None = None) -> Any:
    """Open the catalog in a folder, making it if there is none, or on a server; runs that were cut off are recovered.

    Parameters
    ----------
    data : path or str, optional
        A folder as in `data_folder`, or the address of a Tiled server (``http://host:port``).

    Returns
    -------
    CatalogOfBlueskyRuns
        The databroker catalog: ``catalog[uid]``, ``catalog[-1]``, ``catalog.search(...)``.

    Raises
    ------
    CxgiError
        If the folder cannot be written, or the server does not let us in.
    """
    place, local = data_place(data), _writable(data_folder(data))
    catalog = open_server(str(place)) if is_server(place) else _embedded(local)
    recover_journals(catalog, local)
    return catalog


def _embedded(place: Path) -> Any:
    """The catalog in a folder."""
    (place / "arrays").mkdir(exist_ok=True)
    config = _tree_config(place)
    _write_profile(place, config)
    config["trees"][0]["args"]["init_if_not_exists"] = not _was_made_by_this_tiled(place)
    with import_warnings_silenced():
        from tiled.client import from_context
        from tiled.client.context import Context
        from tiled.server.app import build_app_from_config

        logging.getLogger("tiled.server.app").setLevel(logging.WARNING)  # no greeting on stderr
        catalog = from_context(Context.from_app(build_app_from_config(config)))
    _marker(place).write_text(_tiled_version(), encoding="utf-8")
    return catalog


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
