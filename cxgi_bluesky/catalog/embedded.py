"""The catalog in a folder: its making, its databases, and its name in addresses."""

from __future__ import annotations

import asyncio
import logging
import os
import re
import sqlite3
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from importlib import import_module
from importlib.metadata import version
from pathlib import Path
from typing import Any

import yaml

from .._files.atomic_write import whole_file
from .._files.file_lock import hold_lock, take_alone, take_shared
from ..errors import CxgiError, StorageError
from .databases import (
    WAIT_S,
    address_of,
    can_be_read,
    find_address,
    has_tables,
    prepare_tables,
    read_addresses,
    rewrite_addresses,
    set_write_ahead_log,
    wait_for_others,
)
from .tiled_adapter import silence_import_warnings

logger = logging.getLogger(__name__)

ANSWERS_S = 30.0  # for requests under way when the process ends
OPENING_S = 300.0  # a first opening takes seconds, on a busy machine many
NEXUS = "application/x-nexus"
MEDIA_TYPES = {  # what a run can be asked for in one request
    "application/json-seq": "cxgi_bluesky.catalog.media_types:export_documents",
    "image/png": "cxgi_bluesky.catalog.media_types:export_image",
    NEXUS: "cxgi_bluesky.catalog.media_types:export_nexus",
}
_in_use: dict[Path, int] = {}  # descriptors whose locks show that this process has a folder open


def open_embedded(folder: Path, *, to_write: bool) -> Any:
    """Open the catalog in a folder, under a lock: make it if missing, rewrite its addresses if the folder was moved.

    Parameters
    ----------
    folder : Path
        Data folder.
    to_write : bool
        Whether runs will be stored: then a database of exposures that cannot be used is an error, else a warning.

    Returns
    -------
    tiled container

    Raises
    ------
    CxgiError
        For databases that are missing or damaged, and a folder that was moved while another process has it open.
    """
    with hold_lock(folder, "opening", wait_s=OPENING_S):
        catalog = _open(folder, _prepare(folder, to_write))
        _prepare_catalog(folder / "catalog.db")
        return catalog


def prepare_to_serve(folder: Path) -> dict[str, Any]:
    """Prepare a folder as who opens it to read does; returns the Tiled configuration of its catalog.

    Parameters
    ----------
    folder : Path
        Data folder.

    Raises
    ------
    CxgiError
        As `open_embedded`.
    """
    with hold_lock(folder, "opening", wait_s=OPENING_S):
        config = _prepare(folder, to_write=False)
        _note_version(folder)
        _prepare_catalog(folder / "catalog.db")
        return config


def _prepare(folder: Path, to_write: bool) -> dict[str, Any]:
    """Make what is missing in a folder, and rewrite its addresses if it was moved; returns its Tiled configuration."""
    recorded = read_addresses(folder)
    _check_databases(folder, bool(recorded), to_write)
    address = _find_or_move_address(folder, recorded)
    config = _tree_config(address)
    _write_profile(folder, config)
    if not _was_made_by_this_tiled(folder):
        _make(folder / "catalog.db", _catalog_uri(address))
    config["trees"][0]["args"]["init_if_not_exists"] = False  # Tiled would start a process, which takes seconds
    try:
        (folder / "arrays").mkdir(exist_ok=True)
    except FileExistsError:
        raise StorageError(f"{folder / 'arrays'} is a link to what is not there: is that disk mounted?") from None
    _prepare_tables(folder, address, to_write)
    return config


def seems_whole(folder: Path) -> bool:
    """Return whether nothing that is known without Tiled keeps the catalog of a folder from being opened to write."""
    try:
        recorded = read_addresses(folder)
    except CxgiError:
        return False
    catalog, tables = folder / "catalog.db", folder / "tables.db"
    if not recorded and not tables.exists():
        return True
    return catalog.exists() and (not recorded or find_address(recorded, folder) is not None) and can_be_read(tables)


def _prepare_catalog(path: Path) -> None:
    """Set write-ahead logging: Tiled asks for it within a transaction, where SQLite ignores it."""
    with closing(sqlite3.connect(path, timeout=WAIT_S, isolation_level=None)) as database:
        set_write_ahead_log(path, lambda statement: database.execute(statement).fetchone()[0])


def _open(folder: Path, config: dict[str, Any]) -> Any:
    with silence_import_warnings():
        _import_test_client()
        from sqlalchemy.orm import configure_mappers
        from tiled.client import from_context
        from tiled.client.context import Context
        from tiled.server.app import build_app_from_config

        logging.getLogger("tiled.server.app").setLevel(logging.WARNING)  # no greeting on stderr
        try:
            app = build_app_from_config(config)
            app.add_middleware(_UntilTheEnd)
            configure_mappers()  # else the first run that is read waits for it
            catalog = from_context(Context.from_app(app))
        except Exception as error:
            raise _explain_failure(folder / "catalog.db", error) from error
    _note_version(folder)
    return catalog


class _UntilTheEnd:
    """ASGI gate in front of Tiled: it ends when what other threads have asked for is answered, and refuses more.

    A request that comes as Tiled ends would never be answered, and as Tiled waits for all of them, the process would
    not end either.

    Parameters
    ----------
    app : callable
        The ASGI application behind it.
    """

    def __init__(self, app: Any) -> None:
        self._app = app
        self._under_way: set[asyncio.Task[Any]] = set()
        self._ended = False

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answer a request, or begin and end, as ASGI asks for."""
        if scope["type"] == "lifespan":
            await self._app(scope, lambda: self._receive_last(receive), send)
            return
        if self._ended:
            raise StorageError("the catalog is closed: the process ends")
        request = asyncio.current_task()
        assert request is not None
        self._under_way.add(request)
        try:
            await self._app(scope, receive, send)
        finally:
            self._under_way.discard(request)

    async def _receive_last(self, receive: Any) -> Any:
        message = await receive()
        if message["type"] == "lifespan.shutdown":
            self._ended = True
            if self._under_way:
                _, unanswered = await asyncio.wait(self._under_way, timeout=ANSWERS_S)
                for request in unanswered:
                    request.cancel()
        return message


def _import_test_client() -> None:
    """Let starlette's client, by which Tiled talks to itself, use httpx as Tiled does.

    Where httpx2 is installed as well, as by fastapi[standard], starlette would take that, and neither takes the
    other's URLs.
    """
    known = {"httpx2": sys.modules["httpx2"]} if "httpx2" in sys.modules else {}
    sys.modules["httpx2"] = None  # type: ignore[assignment]  # an import of it fails
    try:
        import_module("starlette.testclient")
    finally:
        del sys.modules["httpx2"]
        sys.modules.update(known)


@silence_import_warnings()
def _make(database: Path, uri: str) -> None:
    """Make the tables of a new catalog; look at those of one that was made by another release of Tiled."""
    from sqlalchemy.ext.asyncio import create_async_engine
    from tiled.alembic_utils import DatabaseUpgradeNeeded, UninitializedDatabase, check_database, stamp_head
    from tiled.catalog.alembic_constants import ALEMBIC_DIR, ALEMBIC_INI_TEMPLATE_PATH
    from tiled.catalog.core import ALL_REVISIONS, REQUIRED_REVISION, initialize_database
    from tiled.utils import ensure_specified_sql_driver

    uri = ensure_specified_sql_driver(uri)

    async def make() -> None:
        engine = create_async_engine(uri)
        try:
            await check_database(engine, REQUIRED_REVISION, ALL_REVISIONS)
        except UninitializedDatabase:
            await initialize_database(engine)
        finally:
            await engine.dispose()

    def make_and_stamp() -> None:
        asyncio.run(make())
        stamp_head(ALEMBIC_INI_TEMPLATE_PATH, ALEMBIC_DIR, uri)

    with ThreadPoolExecutor(1) as elsewhere:  # an event loop may be running here, as in a notebook
        try:
            elsewhere.submit(make_and_stamp).result()
        except DatabaseUpgradeNeeded:
            raise StorageError(
                f"{database} was made by an earlier release of Tiled: copy the folder, then run 'tiled catalog "
                f"upgrade-database {uri.split('?')[0]}'"
            ) from None
        except Exception as error:
            raise _explain_failure(database, error) from error


def _explain_failure(database: Path, error: Exception) -> CxgiError:
    """Name what Tiled could not open, and the remedy."""
    if threading._SHUTTING_DOWN:  # type: ignore[attr-defined]  # nothing can begin any more
        return StorageError(f"{database} is not opened: the process ends")
    return StorageError(f"{database} cannot be opened ({type(error).__name__}: {error}): bring it back from a copy")


def _check_databases(folder: Path, holds_runs: bool, to_write: bool) -> None:
    """Raise if one database is missing while the other holds runs: it must not be made anew unnoticed."""
    catalog, tables = folder / "catalog.db", folder / "tables.db"
    if not catalog.exists() and has_tables(tables):
        raise StorageError(
            f"{catalog} is missing beside {tables}, which holds exposures: bring it back from a copy, or move "
            "tables.db and arrays away to begin a new catalog here"
        )
    if holds_runs and not has_tables(tables):
        text = f"{tables} is missing or empty, which held the exposures of the runs in catalog.db: bring it back"
        cut = Path(re.split("[#?]", str(folder))[0])
        if cut != folder and cut.is_file():
            text += f" (an earlier release has put it to {str(cut)!r}: copy that file to its place)"
        _raise_or_warn(text, to_write)


def _find_or_move_address(folder: Path, recorded: list[str]) -> str:
    """Return the address of a folder; if it was moved or copied, rewrite its catalog while nobody has it open."""
    address = find_address(recorded, folder) or address_of(folder)
    old = [path for path in recorded if path != address]
    if old:
        alone = None if folder in _in_use else take_alone(folder, "in-use")
        if alone is None:
            raise StorageError(
                f"data folder {folder} was {old[0]} before and is open in another process: end that first, so that "
                "the addresses in its catalog can follow it"
            )
        try:
            rewrite_addresses(folder, old, address)
        finally:
            os.close(alone)
    if folder not in _in_use and (shared := take_shared(folder, "in-use")) is not None:
        _in_use[folder] = shared
    return address


def _prepare_tables(folder: Path, address: str, to_write: bool) -> None:
    try:
        prepare_tables(folder / "tables.db")
        wait_for_others(_tables_uri(address))
    except CxgiError as error:
        _raise_or_warn(str(error), to_write)


def _raise_or_warn(text: str, to_write: bool) -> None:
    """Raise for who is about to write; who reads can still list the runs, and is warned."""
    if to_write:
        raise StorageError(text)
    logger.warning(text)


def _catalog_uri(address: str) -> str:
    return f"sqlite:///{address}/catalog.db?timeout={WAIT_S:g}"


def _tables_uri(address: str) -> str:
    return f"sqlite:///{address}/tables.db"


def _tree_config(address: str) -> dict[str, Any]:
    """Return the Tiled configuration of the embedded catalog."""
    return {
        "trees": [
            {
                "path": "/",
                "tree": "catalog",
                "args": {
                    "uri": _catalog_uri(address),
                    "writable_storage": [f"file://localhost{address}/arrays", _tables_uri(address)],
                    "init_if_not_exists": True,
                    "specs": [{"name": "CatalogOfBlueskyRuns", "version": "3.0"}],
                },
            }
        ],
        "media_types": {"BlueskyRun": dict(MEDIA_TYPES)},
        "file_extensions": {"nxs": NEXUS},
    }


def _write_profile(folder: Path, config: dict[str, Any]) -> None:
    """Write a Tiled profile, so that plain ``databroker.catalog["cxgi"]`` opens the same catalog.

    It is found when the environment variable TILED_PROFILES names the folder ``profiles``.
    """
    profile = folder / "profiles" / "cxgi.yml"
    text = yaml.safe_dump({"cxgi": {"direct": config}}, sort_keys=False)
    if not profile.exists() or profile.read_text(encoding="utf-8") != text:  # new, or the folder has moved
        profile.parent.mkdir(exist_ok=True)
        with whole_file(profile) as part:
            part.write_text(text, encoding="utf-8")


def _marker(folder: Path) -> Path:
    return folder / "catalog.tiled-version"


def _version_text() -> str:
    return f"tiled {version('tiled')}\n"


def _note_version(folder: Path) -> None:
    with whole_file(_marker(folder)) as part:
        part.write_text(_version_text(), encoding="utf-8")


def _was_made_by_this_tiled(folder: Path) -> bool:
    """Return whether this version of Tiled made or checked the database: not to ask again saves seconds."""
    database, marker = folder / "catalog.db", _marker(folder)
    try:
        return database.stat().st_size > 0 and marker.read_text(encoding="utf-8") == _version_text()
    except OSError:
        return False
