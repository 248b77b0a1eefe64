"""Runs out of the catalog: found, read, summarised, and those that belong to an image."""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..errors import CxgiError, StorageError
from ..measurement.documents import cxgi_block
from .databases import can_be_read
from .open import data_folder, data_location, is_server, open_catalog
from .query import UNFINISHED, choose_runs
from .recovery import report_waiting_runs, waiting_runs, waits
from .run_index import IndexedRun, RunIndex, has_exposures, list_measured
from .tiled_adapter import catalog_errors, short
from .writer import waiting_starts

if TYPE_CHECKING:
    from ..measurement.exposures import Exposures

logger = logging.getLogger(__name__)

HALF_WRITTEN_S = 5.0  # Tiled writes a stream in several transactions, between which others may write
SHORTEST_UID = 5  # characters of a uid that databroker looks for
LAST = "last"  # instead of a run's uid: the newest that was measured
NO_LINK = "none"  # instead of a run's uid
_OPTIONS = {"reference_uid": "--reference", "dark_uid": "--dark-run"}


def find_run(catalog: Any, uid: str) -> Any:
    """Find the run whose uid is or begins with `uid`.

    Parameters
    ----------
    catalog : tiled container
    uid : str

    Returns
    -------
    tiled container
        The run.

    Raises
    ------
    CxgiError
        If there is none, or more than one, or it waits to be recovered.
    """
    waiting = [str(start.get("uid")) for start in waiting_starts(catalog)]
    with catalog_errors():
        try:
            run = catalog[uid]
        except (KeyError, ValueError) as error:
            if any(one.startswith(uid) for one in waiting):
                raise StorageError(f"run {uid!r} waits to be recovered: cxgi recover") from error
            raise StorageError(f"run {uid!r} is not in the catalog ({error}): cxgi runs lists them") from error
    if run.metadata["start"].get("uid") in waiting:
        logger.warning("run %s is not whole in the catalog, the rest waits to be recovered: cxgi recover", uid)
    return run


def find_named_run(catalog: Any, name: str, *, purpose: str | None = None) -> Any:
    """Find a run by its uid or the beginning of it, its scan number, or its position from the end.

    Parameters
    ----------
    catalog : tiled container
    name : str
        "last" is the newest run that was measured; "-1" is the newest of all, a reconstruction too, "-2" the one
        before; up to six digits are a scan number.
    purpose : str, optional
        Of the run that is meant by "last", such as "image" (default: any).

    Raises
    ------
    CxgiError
        As `find_run` and `last_scan`; if there are not so many runs, or several of that number; if a newer run than
        the newest one waits to be recovered.
    """
    name = name.strip()
    if name == LAST:
        return last_scan(catalog, purpose)
    if re.fullmatch(r"-[1-9]\d*", name):
        return _run_from_the_end(catalog, -int(name))
    if re.fullmatch(r"\d{1,6}", name):
        runs = _runs_of_number(catalog, int(name))
        if len(runs) > 1:
            uids = ", ".join(run.metadata["start"]["uid"][:8] for run in runs)
            raise StorageError(f"{len(runs)} runs have the scan number {name} ({uids}): give the uid of one")
        if runs:
            return runs[0]
        if len(name) < SHORTEST_UID:
            raise StorageError(f"no run has the scan number {name}: cxgi runs lists them")
    return find_run(catalog, name)


def _run_from_the_end(catalog: Any, position: int) -> Any:
    with catalog_errors():
        newest = catalog.values().tail(position)
    if len(newest) < position:
        raise StorageError(f"run {-position} from the end: the catalog has {len(newest)} runs, cxgi runs lists them")
    _check_nothing_newer_waits(waiting_starts(catalog), newest[-1], "run")
    return newest[0]


def _runs_of_number(catalog: Any, scan_id: int) -> list[Any]:
    from tiled.queries import Key

    with catalog_errors():
        return list(catalog.search(Key("scan_id") == scan_id).values())


def _check_nothing_newer_waits(waiting: Sequence[Mapping[str, Any]], last: Any, what: str) -> None:
    if any(last is None or _time(start) >= _time(last.metadata["start"]) for start in waiting):
        raise StorageError(f"a newer {what} is not in the catalog, {waits(len(waiting))}; or name an older one")


def last_scan(catalog: Any, purpose: str | None = "image") -> Any:
    """Find the newest run that was measured; a reconstruction never is.

    Parameters
    ----------
    catalog : tiled container
    purpose : str or None, optional
        Of the run: "image" (default), "alignment", ...; None for any.

    Raises
    ------
    CxgiError
        If there is none yet, or a newer one waits to be recovered.
    """
    from tiled.queries import Key, KeyPresent

    query = KeyPresent("start.cxgi.raw_uids", exists=False) if purpose is None else Key("cxgi.purpose") == purpose
    with catalog_errors():
        try:
            last = catalog.search(query).values().last()
        except IndexError:
            last = None
    blocks = [(start, cxgi_block(start)) for start in waiting_starts(catalog)]
    waiting = [
        start for start, block in blocks if (block.get("purpose") == purpose if purpose else "raw_uids" not in block)
    ]
    _check_nothing_newer_waits(waiting, last, "scan")
    if last is None:
        kind = "scan" if purpose in (None, "image") else f"{purpose.replace('_', '-')} scan"
        raise StorageError(f"no {kind} in the catalog: run one first")
    return last


def last_scan_id(catalog: Any) -> int:
    """Return the highest number of a scan in the catalog, 0 without any."""
    with catalog_errors():
        found = catalog.distinct("start.scan_id")["metadata"]["start.scan_id"]
    return max((row["value"] for row in found if isinstance(row["value"], int)), default=0)


def _time(start: Mapping[str, Any]) -> float:
    begun = start.get("time")
    return float(begun) if isinstance(begun, int | float) else 0.0


def read_exposures(run: Any) -> Exposures:
    """Read everything a mask scan has measured, through the same code as live.

    Raises
    ------
    CxgiError
        If the run is no mask scan; for a reconstruction the message names its raw run.
    """
    from ..measurement.exposures import Exposures

    block = cxgi_block(run.metadata["start"])
    if "raw_uids" in block:
        raise StorageError(
            f"run {run.metadata['start']['uid']} is a reconstruction: reconstruct its raw run {block['raw_uids'][0]}"
        )
    return Exposures.from_documents(read_documents(run))


def read_documents(run: Any) -> list[tuple[str, Any]]:
    """Read all documents of a run, name and document of each.

    Raises
    ------
    CxgiError
        If the catalog cannot give them.
    """
    with catalog_errors():
        return _documents(run)


def _documents(run: Any) -> list[tuple[str, Any]]:
    """Read a run's documents; of one under way, again in a moment if a stream is only half in the catalog."""
    end = time.monotonic() + HALF_WRITTEN_S
    while True:
        try:
            return list(run.documents())
        except Exception:
            if run.metadata.get("stop") or time.monotonic() > end:
                raise
            time.sleep(0.1)


def read_whole_scan(catalog: Any, run: Any) -> Exposures:
    """Read everything that belongs to one image: what a mask scan has measured, and the scans that it resumes.

    Parameters
    ----------
    catalog : tiled container
        Where the scans are that it resumes.
    run : tiled container
        A run of the catalog.

    Raises
    ------
    CxgiError
        As `read_exposures`, and if a scan that is resumed is not in the catalog, or resumes itself.
    """
    chain = [read_exposures(run)]
    while (resumed := chain[-1].metadata.resumes) is not None:
        chain.append(read_exposures(find_run(catalog, resumed)))
        if chain[-1].start["uid"] in [earlier.start["uid"] for earlier in chain[:-1]]:
            raise StorageError(
                f"run {chain[0].start['uid']} resumes itself, by way of {resumed!r}: its metadata are bad"
            )
    whole = chain.pop()
    while chain:
        whole = chain.pop().continuing(whole)
    return whole


def read_linked_exposures(catalog: Any, exposures: Exposures, link: str, uid: str | None = None) -> Exposures | None:
    """Read the run that belongs to an image: the one named, else that of its start document.

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
    kind, option = link.removesuffix("_uid"), _OPTIONS[link]
    named = getattr(exposures.metadata, link) if uid is None else uid
    if named is None or named == NO_LINK:
        return None
    if uid is not None:
        return read_exposures_of_kind(catalog, uid, kind)
    try:
        return read_exposures_of_kind(catalog, named, kind)
    except CxgiError as error:
        raise StorageError(
            f"the {kind} run that this image names cannot be used ({error}): name another one with {option} UID, or go "
            f"on without it, {option} {NO_LINK}"
        ) from error


def read_linked_dark(catalog: Any, exposures: Exposures, uid: str | None = None) -> Exposures | None:
    """Read the dark scan that a run needs; None, and none is looked up, where it has dark readings of its own.

    Parameters
    ----------
    catalog : tiled container
    exposures : Exposures
        Of the image.
    uid : str, optional
        Of another dark scan than the start document names, or "none" for no run at all (default: the one named).

    Raises
    ------
    CxgiError
        As `read_linked_exposures`, and for a dark scan named for a run that has dark readings of its own.
    """
    if exposures.dark is None:
        return read_linked_exposures(catalog, exposures, "dark_uid", uid)
    if uid not in (None, NO_LINK):
        raise StorageError(
            f"run {exposures.start['uid']} has dark readings of its own, which are used: leave the dark run out"
        )
    return None


def read_exposures_of_kind(catalog: Any, uid: str, kind: str) -> Exposures:
    """Read a run, which must be of a kind ("reference" or "dark").

    Parameters
    ----------
    catalog : tiled container
    uid : str
        Of the run, whole or its beginning.
    kind : {"reference", "dark"}
        Purpose that the start document must name.

    Raises
    ------
    CxgiError
        If the run is not in the catalog or of another kind.
    """
    found = read_exposures(find_run(catalog, uid))
    purpose = found.metadata.purpose
    if purpose != kind:
        raise StorageError(f"run {uid} is no {kind} scan (purpose {purpose!r}): name another one, or {NO_LINK!r}")
    return found


def summarise(run: Any) -> dict[str, Any]:
    """Summarise a run for a list: uid, time, purpose, and what it measured or was made from.

    Of a run of others, as much of it as its start document has.
    """
    start, stop = _mapping(run.metadata.get("start")), _mapping(run.metadata.get("stop"))
    block = cxgi_block(start)
    pattern_set = _mapping(block.get("pattern_set"))
    raw_uids = block.get("raw_uids")
    raw_uids = [str(uid) for uid in raw_uids] if isinstance(raw_uids, list) else None
    return {
        "uid": str(start.get("uid", "?")),
        "time": _time(start),
        "scan_id": start.get("scan_id"),
        "purpose": block.get("purpose"),
        "sample": start.get("sample"),
        "board": _mapping(block.get("board")).get("id"),
        "size": pattern_set.get("size") or block.get("size"),
        "patterns": pattern_set.get("count"),
        "exposures": block.get("exposures") if raw_uids else _mapping(stop.get("num_events")).get("primary"),
        "method": block.get("method"),
        "raw_uids": raw_uids,
        "resumes": block["resumes"] if isinstance(block.get("resumes"), str) else None,
        "exit_status": str(stop.get("exit_status", UNFINISHED)),
    }


def _mapping(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}


# ---------------------------------------------------------------- lists, from the index where it can be used


def list_runs(
    data: str | Path | None = None, *, last: int = 50, rebuild: bool = False, query: str | None = None
) -> tuple[list[dict[str, Any]], int]:
    """Summarise the newest runs, newest last; returns them and the number of all.

    They come from the index of the folder, without Tiled. One that is missing, damaged or behind the catalog is made
    anew, and a warning says so.

    Parameters
    ----------
    data : path or str, optional
        As for `open_catalog`.
    last : int, optional
        How many (default 50).
    rebuild : bool, optional
        Make the index anew in any case (default False).
    query : str, optional
        Condition that the runs meet (`choose_runs`); the number is then that of those which meet it (default: all).

    Raises
    ------
    CxgiError
        As `open_catalog` and `choose_runs`.
    """
    if query is None:
        found, total = _read_newest(data, last, rebuild)
    else:
        found = choose_runs(query, _read_newest(data, None, rebuild)[0])
        found, total = found[-last:], len(found)
    return [summarise(run) for run in found], total


def read_all_runs(data: str | Path | None = None) -> list[IndexedRun]:
    """Read start and stop document of each run, oldest first, from the index of the folder if it can be used.

    Parameters
    ----------
    data : path or str, optional
        As for `open_catalog`.

    Raises
    ------
    CxgiError
        As `open_catalog`.
    """
    return _read_newest(data, None, False)[0]


def _read_newest(data: str | Path | None, last: int | None, rebuild: bool) -> tuple[list[IndexedRun], int]:
    """Read the newest runs, newest last, or all; and the number of all."""
    index = _index_of(data)
    indexed = None if index is None or rebuild else index.newest(-1 if last is None else last)
    if indexed is not None:
        report_waiting_runs(data_folder(data))
        return indexed
    catalog = open_catalog(data)
    if index is not None:
        _make_anew(index, catalog, "was asked for" if rebuild else index.why_not())
    with catalog_errors():
        runs = catalog.values() if last is None else catalog.values().tail(last)
        return [IndexedRun(_mapping(run.metadata.get("start")), run.metadata.get("stop")) for run in runs], len(catalog)


def describe_run(data: str | Path | None, name: str) -> tuple[dict[str, Any], str]:
    """Describe a run as `describe`, from the index of the folder if that has it.

    Parameters
    ----------
    data : path or str, optional
        As for `open_catalog`.
    name : str
        As for `find_named_run`.

    Raises
    ------
    CxgiError
        As `open_catalog` and `find_named_run`.
    """
    index = _index_of(data)
    if index is not None and (described := _describe_from_index(index, data_folder(data), name.strip())) is not None:
        return described, ""
    catalog = open_catalog(data)
    if index is not None and index.newest(1) is None:
        _make_anew(index, catalog, index.why_not())
    state = "" if index is None else index.catalog_state()
    described, problem = describe(catalog, find_named_run(catalog, name))
    if index is not None and described["stop"] and "streams" in described and not problem:
        added = ("d_r_measured", "exposures", "reference_exposures", "streams", "exposure_figures")
        index.keep_measured(described["uid"], {key: described[key] for key in added}, state)
    return described, problem


def describe(catalog: Any, run: Any) -> tuple[dict[str, Any], str]:
    """Describe a run: its summary, start and stop document, what it has measured; and what is not known of it, and why.

    Parameters
    ----------
    catalog : tiled container
        Where the runs are that belong to it.
    run : tiled container
        A run of the catalog.

    Raises
    ------
    CxgiError
        As `read_exposures`.
    """
    from ..measurement.reference import dark_level

    described = {**summarise(run), "start": dict(run.metadata["start"]), "stop": run.metadata.get("stop")}
    if not has_exposures(described["start"]):
        return described, ""
    exposures, d_r, problem = read_exposures(run), None, ""
    if exposures.streams["metal"]:
        try:
            dark = dark_level(exposures.metadata, read_linked_dark(catalog, exposures))
        except CxgiError as error:
            problem = f"D_r measured: not known without the dark, {error}"
        else:
            d_r = exposures.estimate_d_r(dark=dark)
    return described | list_measured(exposures, d_r), problem


def _index_of(data: str | Path | None) -> RunIndex | None:
    """Return the index of a folder; None for a server, and where the exposures are lost, which opening reports."""
    if is_server(data_location(data)):
        return None
    folder = data_folder(data).resolve()
    return RunIndex(folder) if can_be_read(folder / "tables.db") else None


def _describe_from_index(index: RunIndex, folder: Path, name: str) -> dict[str, Any] | None:
    """Describe a run without Tiled; None where only the catalog can tell which run is meant or what it holds."""
    if waiting_runs(folder):
        return None
    if name == LAST:
        run = index.newest_measured()
    elif re.fullmatch(r"-[1-9]\d*", name):
        position = -int(name)
        newest = index.newest(position)
        run = newest[0][0] if newest is not None and len(newest[0]) == position else None
    else:
        run = index.find(name)
    if run is None or (has_exposures(run.start) and (run.measured is None or run.stop is None)):
        return None
    described = {**summarise(run), "start": run.start, "stop": run.stop}
    return described | (run.measured or {}) if has_exposures(run.start) else described


def _make_anew(index: RunIndex, catalog: Any, why: str) -> None:
    """Make an index anew, and report it; where that fails, runs are listed as without one."""
    try:
        made = index.make_anew(catalog)
    except Exception as error:
        logger.warning("%s %s and cannot be written (%s): listing runs takes seconds", index.path, why, short(error))
        return
    done = "it is made anew from the catalog" if made else "it is made anew when no run is being written"
    logger.warning("%s %s: %s", index.path, why, done)
