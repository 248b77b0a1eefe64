"""The databases of a data folder: how they are addressed, also after a move, and how processes wait for one another.

Tiled stores absolute addresses (``sqlite://localhost//data/tables.db``) that it neither escapes nor looks at again.
It opens the exposures, ``tables.db``, through ADBC, which brings an SQLite library of its own. Python's `sqlite3`
must never open that file in the same process: two libraries do not see each other's locks, and one that closes the
file drops the other's.
"""

from __future__ import annotations

import hashlib
import logging
import os
import re
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from platformdirs import user_data_path

from ..errors import CxgiError, StorageError
from .tiled_adapter import short

logger = logging.getLogger(__name__)

WAIT_S = 30.0  # for others who have a database locked
_PLAIN = re.compile(r"[\w./ +=@~-]+")  # what Tiled and SQLAlchemy leave as it is in an address
_TABLES = "/tables.db"
_WAIT = f"PRAGMA busy_timeout = {int(WAIT_S * 1000)}"


# ---------------------------------------------------------------- addresses


def check_name(folder: Path) -> None:
    """Refuse a folder of which no address can be made, before anything is written.

    Raises
    ------
    CxgiError
        For a name that is no UTF-8, or that needs a link which cannot be addressed either.
    """
    try:
        str(folder).encode()
    except UnicodeEncodeError as error:
        raise StorageError(f"data folder {str(folder)!r}: its name is no UTF-8: rename it") from error
    if not (_PLAIN.fullmatch(str(folder)) or _PLAIN.fullmatch(str(_link_to(folder)))):
        raise StorageError(f"data folder {folder}: rename it, here with letters, digits, blanks and ._/+=@~- alone")


def address_of(folder: Path) -> str:
    """Return the path of a folder for addresses: its own, or of a link to it if its name means something in an address.

    A link is made in the user's data folder where it is missing.

    Raises
    ------
    CxgiError
        If the link cannot be made.
    """
    if _PLAIN.fullmatch(str(folder)):
        return str(folder)
    link = _link_to(folder)
    try:
        link.parent.mkdir(parents=True, exist_ok=True)
        if not _is_same(link, folder):
            link.unlink(missing_ok=True)
            link.symlink_to(folder, target_is_directory=True)
    except OSError as error:
        raise StorageError(
            f"data folder {folder}: such a name needs a link to it at {link}, which cannot be made ({error}): rename "
            "the folder, with letters, digits, blanks and ._/+=@~- alone"
        ) from error
    return str(link)


def _link_to(folder: Path) -> Path:
    name = hashlib.sha256(str(folder).encode()).hexdigest()[:16]
    return user_data_path("cxgi_bluesky", appauthor=False) / "links" / name


def read_addresses(folder: Path) -> list[str]:
    """Read the paths that the catalog of a folder has for it: one, more if it was moved, none if it holds no run.

    Raises
    ------
    CxgiError
        If ``catalog.db`` is damaged.
    """
    path = folder / "catalog.db"
    if not path.exists() or path.stat().st_size == 0:
        return []
    try:
        with closing(_connect(folder)) as database:
            if not database.execute("SELECT count(*) FROM sqlite_master WHERE name = 'assets'").fetchone()[0]:
                return []
            rows = database.execute(f"SELECT data_uri FROM assets WHERE data_uri LIKE 'sqlite:%{_TABLES}'").fetchall()
    except sqlite3.DatabaseError as error:
        raise StorageError(
            f"{path} cannot be read ({error}): wait if it is locked, else bring it back from a copy"
        ) from error
    found = (re.fullmatch(r"sqlite://(?:localhost)?/(/.*)/tables\.db", uri) for (uri,) in rows)
    return [match[1] for match in found if match is not None]


def find_address(recorded: list[str], folder: Path) -> str | None:
    """Return that of the recorded paths which leads to the folder, None if it has been moved or copied.

    Parameters
    ----------
    recorded : list of str
        Paths that stand in the catalog (`read_addresses`).
    folder : Path
        Data folder.
    """
    return next((path for path in recorded if _is_same(Path(path), folder)), None)


def rewrite_addresses(folder: Path, old: list[str], new: str) -> int:
    """Rewrite the addresses below the `old` paths of a folder, and no others, in one transaction; returns how many.

    Parameters
    ----------
    folder : Path
        Data folder.
    old : list of str
        One path at least.
    new : str
        Path that replaces them.
    """
    with closing(_connect(folder)) as database:
        database.execute("BEGIN IMMEDIATE")
        changed = 0
        for path in old:
            for before, after in (
                (f"sqlite://localhost/{path}/", f"sqlite://localhost/{new}/"),
                (f"file://localhost{path}/", f"file://localhost{new}/"),
                (f"sqlite:///{path}/", f"sqlite:///{new}/"),
                (f"file://{path}/", f"file://{new}/"),
            ):
                changed += _rewrite(database, before, after)
        database.execute("COMMIT")
    logger.warning("data folder %s was %s before: %d addresses in its catalog follow it", folder, old[0], changed)
    return changed


def _rewrite(database: sqlite3.Connection, before: str, after: str) -> int:
    below = "substr(data_uri, 1, ?) = ?"
    rows = database.execute(f"SELECT id, data_uri FROM assets WHERE {below}", (len(before), before)).fetchall()
    for asset, uri in rows:
        moved = after + uri[len(before) :]
        there = database.execute("SELECT id FROM assets WHERE data_uri = ?", (moved,)).fetchone()
        if there is None:
            database.execute("UPDATE assets SET data_uri = ? WHERE id = ?", (moved, asset))
        else:  # an earlier release has written here since the folder was moved
            database.execute(
                "UPDATE data_source_asset_association SET asset_id = ? WHERE asset_id = ?", (there[0], asset)
            )
            database.execute("DELETE FROM assets WHERE id = ?", (asset,))
    return len(rows)


def _connect(folder: Path) -> sqlite3.Connection:
    return sqlite3.connect(folder / "catalog.db", timeout=WAIT_S, isolation_level=None)


def _is_same(path: Path, folder: Path) -> bool:
    try:
        return os.path.samefile(path, folder)
    except OSError:
        return False


# ---------------------------------------------------------------- exposures


def prepare_tables(path: Path) -> None:
    """Set write-ahead logging, once for the life of the file; warn where that is impossible, as on network folders.

    Raises
    ------
    CxgiError
        If the file is no database.
    """
    set_write_ahead_log(path, lambda statement: _ask(path, statement))


def set_write_ahead_log(path: Path, ask: Callable[[str], Any]) -> None:
    """Set write-ahead logging of a database of either library.

    Parameters
    ----------
    path : Path
        File of the database, for the warning.
    ask : callable
        Takes a statement, has the database execute it, and gives the answer.
    """
    try:
        if ask("PRAGMA journal_mode") == "wal" or ask("PRAGMA journal_mode = WAL") == "wal":
            return
        why = "there can be no write-ahead log here, as on a network folder"
    except (_errors(), sqlite3.OperationalError) as error:
        why = f"no write-ahead log while it is in use ({short(error)})"
    logger.warning("%s: %s; readers hold up those who write, for %g s at most", path, why, WAIT_S)


def empty_write_ahead_log(folder: Path) -> None:
    """Bring the log of ``catalog.db`` into it, if nobody reads it at this moment: the files then stay as they are."""
    with closing(sqlite3.connect(folder / "catalog.db", timeout=0.1, isolation_level=None)) as database:
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def has_tables(path: Path) -> bool:
    """Return whether there is a database that may hold exposures; a damaged one may."""
    try:
        return path.exists() and path.stat().st_size > 0 and _ask(path, "SELECT count(*) FROM sqlite_master") > 0
    except CxgiError:
        return True


def can_be_read(path: Path) -> bool:
    """Return whether a database of exposures is there and is one; as `_ask`, without what takes long to import."""
    from adbc_driver_manager import AdbcConnection, AdbcStatement, Error
    from adbc_driver_sqlite import connect

    if not path.exists() or path.stat().st_size == 0:
        return False
    try:
        with connect(str(path)) as database, AdbcConnection(database) as link, AdbcStatement(link) as statement:
            statement.set_sql_query("SELECT count(*) FROM sqlite_master")
            statement.execute_query()
    except Error as error:
        return "locked" in str(error) or "busy" in str(error)
    return True


def _ask(path: Path, statement: str) -> Any:
    from adbc_driver_sqlite import dbapi

    try:
        with closing(dbapi.connect(str(path), autocommit=True)) as connection, closing(connection.cursor()) as cursor:
            cursor.execute(_WAIT)
            cursor.execute(statement)
            ((answer,),) = cursor.fetchall()
            return answer
    except _errors() as error:
        if "locked" in str(error) or "busy" in str(error):
            raise
        raise StorageError(
            f"{path} cannot be read ({short(error)}): bring it back from a copy; catalog.db lists the runs alone"
        ) from error


def _errors() -> type[Exception]:
    from adbc_driver_manager import Error

    error: type[Exception] = Error
    return error


def wait_for_others(uri: str) -> None:
    """Let every connection of Tiled's pool wait for a lock; each begins without, also those made of one that waits."""
    from sqlalchemy import event
    from tiled.storage import parse_storage

    pool = parse_storage(uri)._connection_pool
    if not event.contains(pool, "connect", _wait):
        event.listen(pool, "connect", _wait)


def _wait(connection: Any, _: Any) -> None:
    with closing(connection.cursor()) as cursor:
        cursor.execute(_WAIT)
    connection.commit()


def refuse_writes(catalog: Any, tables: str) -> None:
    """Let every connection to both databases refuse whatever would write.

    Parameters
    ----------
    catalog : sqlalchemy.Engine
        Of ``catalog.db``, not yet connected.
    tables : str
        Address of ``tables.db``, as Tiled has it.
    """
    from sqlalchemy import event
    from tiled.storage import parse_storage

    for pool in (catalog, parse_storage(tables)._connection_pool):
        event.listen(pool, "connect", _refuse_writes)


def _refuse_writes(connection: Any, _: Any) -> None:
    with closing(connection.cursor()) as cursor:
        cursor.execute("PRAGMA query_only = ON")
    connection.commit()
