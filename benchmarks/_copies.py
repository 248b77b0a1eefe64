"""Many stored runs in little time: rows of one that was really stored, copied with new uids.

With the tables that storing them gives (`tests/catalog/test_copied_runs.py`).
Only for a folder that nobody has open, and that this process has not opened: Tiled brings an SQLite library of its own.
The index of runs does not follow: ``cxgi runs --rebuild``.
"""

from __future__ import annotations

import json
import sqlite3
import uuid
from contextlib import closing
from pathlib import Path
from typing import Any


def new_uid(uid: str, number: int) -> str:
    """The uid that stands for another in a copy."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{uid} {number}"))


def copy_run(folder: str | Path, uid: str, count: int) -> None:
    """Copy a run of tables (no arrays) so many times."""
    with (
        closing(sqlite3.connect(Path(folder) / "catalog.db", isolation_level=None)) as catalog,
        closing(sqlite3.connect(Path(folder) / "tables.db", isolation_level=None)) as tables,
    ):
        catalog.row_factory = sqlite3.Row
        for database in (catalog, tables):
            database.execute("BEGIN IMMEDIATE")
        for number in range(1, count + 1):
            _copy(catalog, tables, uid, number)
        for database in (tables, catalog):
            database.execute("COMMIT")


def _copy(catalog: Any, tables: Any, uid: str, number: int) -> None:
    run = catalog.execute("SELECT id, metadata FROM nodes WHERE key = ?", (uid,)).fetchone()
    nodes = catalog.execute(
        "SELECT nodes.* FROM nodes JOIN nodes_closure ON descendant = id WHERE ancestor = ? ORDER BY id", (run["id"],)
    ).fetchall()
    documents = [json.loads(node["metadata"]) for node in nodes]
    uids = {uid, documents[0]["stop"]["uid"], *(document["uid"] for document in documents if "uid" in document)}

    def renew(text: str) -> str:
        for old in uids:
            text = text.replace(old, new_uid(old, number))
        return text

    copies = {}
    for node in nodes:
        values = dict(node) | {"parent": copies.get(node["parent"], node["parent"])}
        values |= {"key": renew(node["key"]), "metadata": renew(node["metadata"])}
        copies[node["id"]] = _insert(catalog, "nodes", values)
        for source in catalog.execute("SELECT * FROM data_sources WHERE node_id = ?", (node["id"],)).fetchall():
            parameters = json.loads(source["parameters"])
            parameters["dataset_id"] = _copy_rows(tables, parameters["table_name"], parameters["dataset_id"])
            values = {"node_id": copies[node["id"]], "parameters": json.dumps(parameters, separators=(",", ":"))}
            copy = _insert(catalog, "data_sources", dict(source) | values)
            catalog.execute(
                "INSERT INTO data_source_asset_association (data_source_id, asset_id, parameter, num) "
                "SELECT ?, asset_id, parameter, num FROM data_source_asset_association WHERE data_source_id = ?",
                (copy, source["id"]),
            )


def _insert(database: Any, table: str, values: dict[str, Any]) -> int:
    """Insert a row with an id of its own; returns it."""
    names = [name for name in values if name != "id"]
    places = ", ".join(f":{name}" for name in names)
    columns = ", ".join(f'"{name}"' for name in names)
    return int(database.execute(f"INSERT INTO {table} ({columns}) VALUES ({places})", values).lastrowid)


def _copy_rows(tables: Any, table: str, dataset: int) -> int:
    """Copy the rows of a dataset; returns the id of the copy."""
    copy = tables.execute("UPDATE _dataset_id_counter SET value = value + 1 RETURNING value").fetchall()[0][0]
    names = [row[1] for row in tables.execute(f'PRAGMA table_info("{table}")') if row[1] != "_dataset_id"]
    columns = ", ".join(f'"{name}"' for name in names)
    tables.execute(
        f'INSERT INTO "{table}" (_dataset_id, {columns}) SELECT ?, {columns} FROM "{table}" WHERE _dataset_id = ? '
        "ORDER BY rowid",
        (copy, dataset),
    )
    return int(copy)
