"""Runs that were cut off, or that the catalog did not take, out of their journals; a run is never replaced by less.

What a journal holds and what the catalog has of its run are joined by stream, seq_num and time (a rewound plan
repeats seq_num, and the catalog keeps no uid of an event). The union is on disk, as the journal, before the catalog's
run is touched, and what was written is read back before the journal moves to ``journal/done``.
"""

from __future__ import annotations

import logging
import re
import shutil
import time
import uuid
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from .._files.file_lock import LockedError, hold_lock
from ..errors import StorageError
from .journal import (
    SUFFIX,
    Document,
    JournalContent,
    NoJournalError,
    journal_files,
    journal_folder,
    open_left_over,
    synchronise_folder,
    write_journal,
)
from .run_index import RunIndex
from .tiled_adapter import run_writer, short

logger = logging.getLogger(__name__)

DONE_KEPT = 100  # journals of recovered runs

Key = tuple[str, int, float]  # stream, seq_num, time


@dataclass(frozen=True)
class Waiting:
    """A journal that waits to be recovered: the start document of its run (empty if it cannot be read)."""

    path: Path
    start: Mapping[str, Any]


@dataclass(frozen=True)
class Recovery:
    """What a recovery has done: uids of the runs that are whole now, and what is wrong with the other journals."""

    recovered: list[str]
    problems: list[str]


def waiting_runs(folder: Path, echo: Callable[[str], None] = lambda text: None) -> list[Waiting]:
    """List the journals of a data folder that no process writes; report what is no journal of a run.

    Parameters
    ----------
    folder : Path
        Data folder.
    echo : callable, optional
        Takes a line of text about a file that is no journal (default: nothing is reported).
    """
    found = []
    for path in journal_files(journal_folder(folder)):
        try:
            with open_left_over(path, shared=True) as content:
                if content is not None:
                    _uid_of(path, content)
                    found.append(Waiting(path, _start_of(content)))
        except NoJournalError as error:
            echo(f"{path} is no journal of a run ({error}): cxgi recover sets it aside")
        except OSError as error:
            echo(f"{path} cannot be read ({error})")
    return found


def report_waiting_runs(folder: Path) -> None:
    """Warn whoever reads that there is more than the catalog has."""
    if waiting := waiting_runs(folder, logger.warning):
        logger.warning(waits(len(waiting)))


def waits(count: int) -> str:
    """Return the line that reports how many runs wait."""
    return f"{count} run{'s wait' if count > 1 else ' waits'} to be recovered: cxgi recover"


def recover(catalog: Any, folder: Path, index: RunIndex) -> Recovery:
    """Bring in every journal of a data folder that no process writes.

    For the thread that writes into the catalog; others use `CatalogWriter.recover`.

    Parameters
    ----------
    catalog : tiled container
    folder : Path
        Data folder: where journals and locks are.
    index : RunIndex
        Its index, which follows.
    """
    result = Recovery([], [])
    try:
        with hold_lock(folder, "recovering"):
            for path in journal_files(journal_folder(folder)):
                _recover_or_report(catalog, index, path, result)
    except LockedError as error:
        result.problems.append(str(error))
    for problem in result.problems:
        logger.warning(problem)
    return result


def _recover_or_report(catalog: Any, index: RunIndex, path: Path, result: Recovery) -> None:
    """Recover one journal; a bad one must not keep the others out."""
    try:
        with open_left_over(path) as content:
            if content is None:
                return
            uid = _uid_of(path, content)
            with index.writing(catalog) as changes:
                if path.exists():  # else the process that left it has brought it in meanwhile
                    changes.note(uid, replaced=_recover_one(catalog, path, content, uid))
                    result.recovered.append(uid)
    except NoJournalError as error:
        result.problems.append(_move_aside(path, str(error)))
    except FileNotFoundError:
        return  # as above
    except Exception as error:
        name = path.stem[:8]
        result.problems.append(f"run {name} could not be recovered ({short(error)}); its journal stays at {path}")


def _move_aside(path: Path, why: str) -> str:
    """Move away what is no journal; return the line that reports it."""
    target = path.parent / "set-aside" / f"{path.name}-{uuid.uuid4().hex[:8]}"
    try:
        target.parent.mkdir(exist_ok=True)
        path.rename(target)
    except OSError as error:
        return f"{path} is no journal of a run ({why}) and cannot be set aside ({error})"
    return f"{path} is no journal of a run ({why}): it was set aside as {target}"


# ---------------------------------------------------------------- one run


def _recover_one(catalog: Any, path: Path, content: JournalContent, uid: str) -> bool:
    """Recover a run; returns whether the catalog had to be changed."""
    documents, new = store_journal(catalog, path, content, uid)
    keep_done(path)
    count = sum(name == "event" for name, _ in documents)
    text = f"run {uid[:8]}: its {count} events were recovered from the journal"
    if not new:
        text = f"run {uid[:8]}: the catalog has all {count} events of its journal"
    if content.unreadable:
        text += f"; {content.unreadable} line{'s' if content.unreadable > 1 else ''} of it could not be read"
    logger.warning(text)
    return new


def store_journal(catalog: Any, path: Path, content: JournalContent, uid: str) -> tuple[list[Document], bool]:
    """Make the catalog's run the union of itself and a journal; returns the union, and whether anything was written.

    Parameters
    ----------
    catalog : tiled container
    path : Path
        File of the journal, which is replaced by the union if that has to be written.
    content : JournalContent
        What the journal holds.
    uid : str
        Of the run, whole.

    Raises
    ------
    CxgiError
        If what was written is not what is read back.
    """
    stored = read_documents(catalog, uid)
    documents = union(content.documents, stored)
    wanted = _keys(documents)
    if stored and stored[-1][0] == "stop" and _keys(stored) == wanted:
        return documents, False
    write_journal(path, documents)
    if stored:
        catalog.delete_contents([uid], recursive=True, external_only=False)
    elif re.fullmatch(r"[\w-]+", uid):  # a transaction that did not end leaves files, over which Tiled does not write
        shutil.rmtree(path.parent.parent / "arrays" / uid, ignore_errors=True)
    writer = run_writer(catalog, batch_size=10_000)
    for name, document in documents:
        writer(name, document)
    there = _keys(read_documents(catalog, uid))
    if there != wanted:
        raise StorageError(
            f"the catalog has {there.total()} events of run {uid[:8]} where {wanted.total()} were written: look at it"
        )
    return documents, True


def keep_done(path: Path) -> None:
    """Move the journal of a run that is whole to those that are done with, of which the last are kept."""
    done = path.parent / "done"
    done.mkdir(exist_ok=True)
    path.rename(done / path.name)
    old = sorted(done.glob(f"*{SUFFIX}"), key=lambda file: file.stat().st_mtime)[:-DONE_KEPT]
    for file in old:
        file.unlink(missing_ok=True)
    synchronise_folder(path.parent)


def _start_of(content: JournalContent) -> Mapping[str, Any]:
    return next((d for name, d in content.documents if name == "start" and isinstance(d.get("uid"), str)), {})


def _uid_of(path: Path, content: JournalContent) -> str:
    """Return the run of a journal: by its start document, else by its descriptors and its name."""
    start = _start_of(content)
    if start:
        return str(start["uid"])
    if any(d.get("run_start") == path.stem for _, d in content.documents):
        return path.stem
    raise NoJournalError("no start document with a uid")


# ---------------------------------------------------------------- documents of both


def union(journal: Iterable[Document], stored: Iterable[Document]) -> list[Document]:
    """Join all that either of them has of a run, from start to stop, with events one by one.

    Where the catalog has nothing more, this is the journal in its own order; else events are in the order of time.
    Events whose descriptor neither of them has are left out. Without a stop document the run counts as aborted.

    Parameters
    ----------
    journal, stored : iterable of (str, dict)
        Name and document of what the journal and the catalog have; events may come in pages.

    Raises
    ------
    CxgiError
        If neither has a start document.
    """
    ours, theirs = list(_one_by_one(journal)), list(_one_by_one(stored))
    start, stop = (next((d for n, d in (*ours, *theirs) if n == name), None) for name in ("start", "stop"))
    if start is None:
        raise StorageError("there is no start document, neither in the journal nor in the catalog")
    streams = {d["uid"]: d["name"] for name, d in (*ours, *theirs) if name == "descriptor"}
    described = {d["uid"] for name, d in ours if name == "descriptor"}
    first = [(n, d) for n, d in theirs if n == "descriptor" and d["uid"] not in described]
    if not any(name in _EXTERNAL for name, _ in ours):
        ours += [(n, d) for n, d in theirs if n in _EXTERNAL]
    events, others = _events_and_others(ours, streams)
    more = {key: event for key, event in _events_and_others(theirs, streams)[0].items() if key not in events}
    if more:
        in_time = sorted((events | more).items(), key=lambda item: item[1][1]["time"])
        events = dict(in_time)
        last = [document for document in others if document[0] == "stream_datum"]
        body = [*(document for document in others if document[0] != "stream_datum"), *events.values(), *last]
    else:
        kept = {id(document) for _, document in events.values()}
        body = [(n, d) for n, d in ours if n not in ("start", "stop") and (n != "event" or id(d) in kept)]
    if stop is None:
        stop = _abort(start["uid"], streams.values(), Counter(stream for stream, _, _ in events))
    return [("start", start), *first, *body, ("stop", stop)]


_EXTERNAL = ("resource", "stream_resource", "datum", "datum_page", "stream_datum")
_NEEDED = {
    "start": ("uid",),
    "descriptor": ("uid", "name", "data_keys"),
    "event": ("descriptor", "seq_num", "time", "data", "timestamps"),
}


def _one_by_one(documents: Iterable[Document]) -> Iterator[Document]:
    """Unpack pages of events, and leave out documents that lack what is needed here."""
    from event_model import unpack_event_page

    for name, document in documents:
        if name != "event_page":
            several = [document]
        else:
            try:
                name, several = "event", list(unpack_event_page(document))
            except (KeyError, TypeError, ValueError, AttributeError):  # a line of JSON that is no page
                continue
        yield from ((name, one) for one in several if all(key in one for key in _NEEDED.get(name, ())))


def _events_and_others(
    documents: list[Document], streams: Mapping[str, str]
) -> tuple[dict[Key, Document], list[Document]]:
    """Split into events by what identifies them, the first of each, and the other documents but start and stop."""
    events: dict[Key, Document] = {}
    for name, d in documents:
        if name == "event" and d["descriptor"] in streams:
            events.setdefault((streams[d["descriptor"]], d["seq_num"], d["time"]), (name, d))
    return events, [(name, d) for name, d in documents if name not in ("start", "stop", "event")]


def _abort(uid: str, streams: Iterable[str], counts: Mapping[str, int]) -> dict[str, Any]:
    return {
        "uid": str(uuid.uuid4()),
        "time": time.time(),
        "run_start": uid,
        "exit_status": "abort",
        "reason": "the process was cut off; recovered from its journal",
        "num_events": {stream: counts.get(stream, 0) for stream in streams},
    }


def _keys(documents: list[Document]) -> Counter[Key]:
    stream_of = {d["uid"]: d["name"] for name, d in documents if name == "descriptor"}
    return Counter((stream_of[d["descriptor"]], d["seq_num"], d["time"]) for name, d in documents if name == "event")


def read_documents(catalog: Any, uid: str) -> list[Document]:
    """Read what the catalog has of a run, also of one only begun: every stored row, repeated seq_nums included.

    Tiled's own export gives the last row of each seq_num alone.

    Parameters
    ----------
    catalog : tiled container
    uid : str
        Of the run, whole.

    Returns
    -------
    list of (str, dict)
        Name and document, in the order of a run; empty for one that the catalog does not have.
    """
    from bluesky_tiled_plugins.exporters import build_descriptor_docs

    try:
        run = catalog[uid]
    except (KeyError, ValueError):  # the second for a uid of few characters
        return []
    if run.metadata["start"]["uid"] != uid:  # found by the first characters
        return []
    documents: list[Document] = [("start", dict(run.metadata["start"]))]
    external = False
    for name, stream in run.items():
        described = build_descriptor_docs(dict(stream.metadata), name, uid)
        documents += [("descriptor", document) for document in described]
        documents += [("event", event) for event in _read_events(stream.base, described)]
        external |= any(key.get("external") for key in described[0].get("data_keys", {}).values())
    if external:
        documents += [(n, d) for n, d in run.documents() if n in _EXTERNAL]
    if run.metadata.get("stop"):
        documents.append(("stop", dict(run.metadata["stop"])))
    return documents


def _read_events(stream: Any, described: list[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    """Read the rows of a stream, in the order in which they were written; arrays are kept beside the table."""
    parts, keys = dict(stream.items()), described[0].get("data_keys", {})
    if any(re.fullmatch(r"internal_\d+", part) for part in parts):
        raise StorageError(f"stream {described[0]['name']!r} has more columns than can be compared")
    if "internal" not in parts:
        return
    arrays = [key for key in parts if key in keys and not keys[key].get("external")]
    columns = {key: parts[key].read() for key in arrays}
    for index, row in enumerate(parts["internal"].read().to_dict(orient="records")):
        row |= {key: column[index] for key, column in columns.items() if index < len(column)}
        before = [d for d in described if d["time"] <= row["time"]] or described[:1]
        names = [name for name in row if name in keys]
        yield {
            "uid": str(uuid.uuid4()),
            "descriptor": before[-1]["uid"],
            "seq_num": int(row["seq_num"]),
            "time": row["time"],
            "data": {name: _builtin(row[name]) for name in names},
            "timestamps": {name: row.get(f"ts_{name}", row["time"]) for name in names},
        }


def _builtin(value: Any) -> Any:
    """Convert arrays to lists, also arrays of arrays."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    return [_builtin(one) for one in value] if isinstance(value, list) else value
