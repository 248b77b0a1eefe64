"""The database of exposures, ``tables.db``: it waits for others instead of failing, and readers do not lock it.

Tiled opens it through ADBC, which brings an SQLite library of its own. Python's `sqlite3` must never open it in the
same process: two libraries do not see each other's locks, and one that closes the file drops the other's.
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

from ..errors import CxgiError, StorageError
from .folder_address import WAIT_S
from .problems import short

logger = logging.getLogger(__name__)

_WAIT = f"PRAGMA busy_timeout = {int(WAIT_S * 1000)}"


def prepare_tables(path: Path) -> None:
    """Set write-ahead logging, once for the life of the file; say so where that cannot be, as on network folders.

    Raises
    ------
    CxgiError
        If the file is no database.
    """
    set_write_ahead_log(path, lambda statement: _ask(path, statement))


def set_write_ahead_log(path: Path, ask: Callable[[str], Any]) -> None:
    """The same for a database of either library.

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


def has_tables(path: Path) -> bool:
    """Whether there is a database that may hold exposures; a damaged one may."""
    try:
        return path.exists() and path.stat().st_size > 0 and _ask(path, "SELECT count(*) FROM sqlite_master") > 0
    except CxgiError:
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
