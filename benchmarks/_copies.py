"""Many stored runs in little time: rows of one that was really stored, copied in bulk with new uids.

With the tables that storing them gives (`tests/catalog/test_copied_runs.py`).
Only for a folder that nobody has open, and that this process has not opened: Tiled brings an SQLite library of its own.
The index of runs does not follow: ``cxgi runs --rebuild``.
"""

from __future__ import annotations

import json
import sqlite3
import uuid
from collections.abc import Iterable, Mapping, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

WORDS = "nodes_metadata_fts5_sync_ai"  # trigger that brings each new row into Tiled's index of words
SOURCES_OF_RUN = """
SELECT data_sources.* FROM data_sources JOIN nodes_closure ON descendant = node_id WHERE ancestor = ? ORDER BY id
"""


def new_uid(uid: str, number: int) -> str:
    """The uid that stands for another in a copy."""
    return str(uuid.uuid5(uuid.NAMESPACE_OID, f"{uid} {number}"))


def copy_run(folder: str | Path, uid: str, count: int) -> None:
    """Copy a run of tables (no arrays) so many times, each database in one transaction.

    Parameters
    ----------
    folder : path or str
        Data folder.
    uid : str
        Of the run.
    count : int
        How many copies.
    """
    with (
        closing(sqlite3.connect(Path(folder) / "catalog.db", isolation_level=None)) as catalog,
        closing(sqlite3.connect(Path(folder) / "tables.db", isolation_level=None)) as tables,
    ):
        catalog.row_factory = sqlite3.Row
        for database in (catalog, tables):
            database.execute("BEGIN IMMEDIATE")
        _copy(catalog, tables, uid, range(1, count + 1))
        for database in (tables, catalog):
            database.execute("COMMIT")


def _copy(catalog: Any, tables: Any, uid: str, numbers: Sequence[int]) -> None:
    run = catalog.execute("SELECT id FROM nodes WHERE key = ?", (uid,)).fetchone()["id"]
    nodes = catalog.execute(
        "SELECT nodes.* FROM nodes JOIN nodes_closure ON descendant = id WHERE ancestor = ? ORDER BY id", (run,)
    ).fetchall()
    sources = catalog.execute(SOURCES_OF_RUN, (run,)).fetchall()
    documents = [json.loads(node["metadata"]) for node in nodes]
    uids = {uid, documents[0]["stop"]["uid"], *(document["uid"] for document in documents if "uid" in document)}

    def renew(text: str, number: int) -> str:
        for old in uids:
            text = text.replace(old, new_uids[number][old])
        return text

    new_uids = {number: {old: new_uid(old, number) for old in uids} for number in numbers}
    node_ids = _new_ids(catalog, "nodes", [node["id"] for node in nodes], numbers)
    source_ids = _new_ids(catalog, "data_sources", [source["id"] for source in sources], numbers)
    datasets = _copy_datasets(tables, [json.loads(source["parameters"]) for source in sources], numbers)

    trigger = catalog.execute("SELECT sql FROM sqlite_master WHERE name = ?", (WORDS,)).fetchone()["sql"]
    catalog.execute(f"DROP TRIGGER {WORDS}")  # one statement for all rows takes half of the time
    _insert(
        catalog,
        "nodes",
        (
            dict(node)
            | {
                "id": node_ids[number][node["id"]],
                "parent": node_ids[number].get(node["parent"], node["parent"]),
                "key": renew(node["key"], number),
                "metadata": renew(node["metadata"], number),
            }
            for number in numbers
            for node in nodes
        ),
    )
    catalog.execute(
        "INSERT INTO metadata_fts5(rowid, metadata) SELECT id, metadata FROM nodes WHERE id >= ? ORDER BY id",
        (min(node_ids[numbers[0]].values()),),
    )
    catalog.execute(trigger)
    _insert(
        catalog,
        "data_sources",
        (
            dict(source)
            | {
                "id": source_ids[number][source["id"]],
                "node_id": node_ids[number][source["node_id"]],
                "parameters": json.dumps(parameters, separators=(",", ":")),
            }
            for number, copies in zip(numbers, datasets, strict=True)
            for source, parameters in zip(sources, copies, strict=True)
        ),
    )
    catalog.executemany(
        "INSERT INTO data_source_asset_association (data_source_id, asset_id, parameter, num) "
        "SELECT ?, asset_id, parameter, num FROM data_source_asset_association WHERE data_source_id = ?",
        ((copy, source) for number in numbers for source, copy in source_ids[number].items()),
    )


def _new_ids(database: Any, table: str, ids: Sequence[int], numbers: Sequence[int]) -> dict[int, dict[int, int]]:
    """The ids that stand for others in each copy."""
    free = database.execute(f"SELECT max(id) + 1 FROM {table}").fetchone()[0]
    return {
        number: {old: free + row * len(ids) + position for position, old in enumerate(ids)}
        for row, number in enumerate(numbers)
    }


def _insert(database: Any, table: str, rows: Iterable[Mapping[str, Any]]) -> None:
    names = [row[1] for row in database.execute(f"PRAGMA table_info({table})")]
    columns, places = ", ".join(f'"{name}"' for name in names), ", ".join(f":{name}" for name in names)
    database.executemany(f"INSERT INTO {table} ({columns}) VALUES ({places})", rows)


def _copy_datasets(
    tables: Any, sources: Sequence[Mapping[str, Any]], numbers: Sequence[int]
) -> list[list[dict[str, Any]]]:
    """Copy the rows of the datasets; returns the parameters of each copy's data sources."""
    total = len(numbers) * len(sources)
    ((last,),) = tables.execute("UPDATE _dataset_id_counter SET value = value + ? RETURNING value", (total,)).fetchall()
    first = last - total + 1
    for position, source in enumerate(sources):
        table, copies = source["table_name"], range(first + position, last + 1, len(sources))
        names = [row[1] for row in tables.execute(f'PRAGMA table_info("{table}")') if row[1] != "_dataset_id"]
        columns = ", ".join(f'"{name}"' for name in names)
        tables.execute(
            f'INSERT INTO "{table}" (_dataset_id, {columns}) SELECT copy.value, {columns} FROM json_each(?) AS copy '
            f'CROSS JOIN "{table}" WHERE _dataset_id = ? ORDER BY copy.key, "{table}".rowid',
            (json.dumps(list(copies)), source["dataset_id"]),
        )
    return [
        [{**source, "dataset_id": first + row * len(sources) + position} for position, source in enumerate(sources)]
        for row in range(len(numbers))
    ]
