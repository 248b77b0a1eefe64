"""Opening a catalog: where it is, and the runs that wait to be recovered."""

from __future__ import annotations

import os
import re
import uuid
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit, urlunsplit

from ..errors import StorageError
from .databases import check_name
from .embedded import open_embedded, seems_whole
from .recovery import Recovery, report_waiting_runs
from .tiled_adapter import catalog_errors, silence_import_warnings
from .writer import CatalogWriter, writer_of

KEY_VARIABLE = "TILED_API_KEY"
# Tiled itself asks again for minutes, for which a scan would stand still. The journal has every exposure.
PATIENCE = {"TILED_RETRY_ATTEMPTS": 3, "TILED_RETRY_TIMEOUT": 10.0}


def is_server(data: str | Path | None) -> bool:
    """Return whether a data folder is the address of a server instead."""
    return isinstance(data, str) and data.lower().startswith(("http://", "https://"))


def check_address(address: str) -> None:
    """Raise `CxgiError` for an address that holds a key or password: it would be shown, logged, and name a folder."""
    parts = urlsplit(address)
    if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
        bare = urlunsplit((parts.scheme, parts.netloc.rpartition("@")[2], parts.path, "", ""))
        raise StorageError(
            f"the address of server {bare} has more than host and path, maybe a key: put the key into {KEY_VARIABLE}, "
            f"and give {bare}"
        )


def open_server(address: str) -> Any:
    """Open the catalog of a server; its key is in the environment variable ``TILED_API_KEY``.

    Raises
    ------
    CxgiError
        If the server does not answer, refuses the key, or keeps no catalog of runs.
    """
    _limit_patience()
    with silence_import_warnings():
        from tiled.client import from_uri

        try:
            catalog = from_uri(address)
        except Exception as error:
            raise StorageError(
                f"server {address} cannot be used ({type(error).__name__}: {error}): does it run, and is its key in "
                f"{KEY_VARIABLE}?"
            ) from error
    specs = [spec.name for spec in getattr(catalog, "specs", [])]
    if "CatalogOfBlueskyRuns" not in specs:
        raise StorageError(
            f"server {address} keeps no catalog of runs there (specs {specs}): see docs/how-to/use-the-catalog"
        )
    return catalog


def check_may_write(catalog: Any) -> None:
    """Raise if the catalog is on a server whose key only reads, before work is done that could not be stored there.

    Raises
    ------
    CxgiError
        If the server refuses.
    """
    if not writer_of(catalog).reads_back:
        return
    with catalog_errors():
        answer = catalog.context.http_client.post(catalog.item["links"]["self"], json={})  # nothing that it could store
    if answer.status_code in (401, 403, 405):
        address = str(catalog.context.api_uri).removesuffix("/").removesuffix("/api/v1")
        raise StorageError(
            f"server {address} is for reading alone with this key, nothing can be stored there: reconstruct without "
            f"storing (--no-record), or put a key that writes into {KEY_VARIABLE}"
        )


def _limit_patience() -> None:
    """Limit Tiled's retries in this process unless its environment does, which Tiled may have read already."""
    with silence_import_warnings():
        from tiled.client import utils
    for name, value in PATIENCE.items():
        if name not in os.environ:
            setattr(utils, name, value)


# ---------------------------------------------------------------- any catalog


DATA_VARIABLE = "CXGI_DATA"


def data_location(data: str | Path | None = None) -> str | Path | None:
    """Return what was given, else ``CXGI_DATA``: a folder or a server's address; None: the user's data folder.

    Raises
    ------
    CxgiError
        For a server's address that holds a key.
    """
    location = data if data is not None else os.environ.get(DATA_VARIABLE) or None
    if is_server(location):
        check_address(str(location))
    return location


def data_folder(data: str | Path | None = None) -> Path:
    """Return where runs are kept: the folder given, else ``CXGI_DATA``, else the user's data folder.

    ``~`` is the user's home, and ``file://`` addresses are folders. Of a server it is where this machine keeps
    journals and live images of its runs, a folder for each address.

    Raises
    ------
    CxgiError
        For an address that is neither a folder's nor a server's.
    """
    location = data_location(data)
    if location is not None and not is_server(location):
        return _folder_of(location)
    from platformdirs import user_data_path

    folder = user_data_path("cxgi_bluesky", appauthor=False)
    return folder if location is None else folder / "servers" / re.sub(r"\W+", "-", str(location).partition("://")[2])


def _folder_of(location: str | Path) -> Path:
    if isinstance(location, str) and re.match(r"[a-z][a-z0-9+.-]*://", location):
        parts = urlsplit(location)
        if parts.scheme != "file" or parts.netloc not in ("", "localhost") or parts.query or parts.fragment:
            raise StorageError(
                f"data {location!r} is no folder: give a path, file:///PATH, or a server, http(s)://HOST:PORT"
            )
        return Path(unquote(parts.path))
    try:
        return Path(location).expanduser()
    except RuntimeError as error:
        raise StorageError(f"data folder {location}: {error}") from error


def _writable(folder: Path) -> Path:
    """Make the folder and write to it, so that no scan starts that cannot store its data."""
    check_name(folder.absolute())
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".probe-{uuid.uuid4().hex}"
        probe.write_bytes(b"")
        probe.unlink()
    except OSError as error:
        raise StorageError(
            f"data folder {folder} cannot be written ({error}): give another with --data or {DATA_VARIABLE}"
        ) from error
    return folder.resolve()


def open_catalog(data: str | Path | None = None, *, to_write: bool = False) -> Any:
    """Open the catalog in a folder, or on a server; who is about to write makes a folder that is not there.

    Parameters
    ----------
    data : path or str, optional
        A folder as in `data_folder`, or the address of a Tiled server (``http://host:port``).
    to_write : bool
        For who is about to scan, and calls `recover_journals` first: databases that are damaged or missing are errors.
        Else runs can still be listed; warnings report what is wrong, and how many runs wait to be recovered.

    Returns
    -------
    CatalogOfBlueskyRuns
        The databroker catalog: ``catalog[uid]``, ``catalog[-1]``, ``catalog.search(...)``.

    Raises
    ------
    CxgiError
        If the folder is not there to be read or cannot be written, its databases are missing or damaged, or the server
        does not let us in, or only to read.
    """
    location, folder = data_location(data), data_folder(data)
    if not (to_write or is_server(location) or folder.exists()):
        raise StorageError(f"there is no data folder {folder}: name another (--data, {DATA_VARIABLE}), or scan first")
    local = _writable(folder)
    catalog = open_server(str(location)) if is_server(location) else open_embedded(local, to_write=to_write)
    CatalogWriter(catalog, local, reads_back=is_server(location))
    if to_write:
        check_may_write(catalog)
    else:
        report_waiting_runs(local)
    return catalog


def prepare_writer(data: str | Path | None = None) -> CatalogWriter:
    """Return the writer of a catalog whose opening can wait: imports of Tiled take seconds.

    Its `open_behind` opens it in a thread; who needs the catalog before waits. A server, and a folder that seems
    damaged or was moved, is opened here.

    Parameters
    ----------
    data : path or str, optional
        As for `open_catalog`.

    Raises
    ------
    CxgiError
        As `open_catalog` with `to_write`.
    """
    folder = data_folder(data)
    if is_server(data_location(data)) or not seems_whole(local := _writable(folder)):
        return writer_of(open_catalog(data, to_write=True))
    return CatalogWriter(None, local, opens=lambda: open_embedded(local, to_write=True))


def recover_journals(catalog: Any) -> Recovery:
    """Store the runs that were cut off, or that the catalog did not take: whatever it or their journals have of them.

    Runs that are not finished become "abort". Warnings report what was recovered, and what is wrong with a journal.
    """
    return writer_of(catalog).recover()
