"""Runs out of the catalog: found, read, summarised, and those that belong to an image."""

from __future__ import annotations

from typing import Any

from ..errors import CxgiError
from ..exposures import Exposures
from .server import server_errors

NO_LINK = "none"  # instead of a run's uid
_OPTIONS = {"reference_uid": "--reference", "dark_uid": "--dark-run"}


def find_run(catalog: Any, uid: str) -> Any:
    """The run whose uid is or begins with `uid`.

    Raises
    ------
    CxgiError
        If there is none, or more than one.
    """
    with server_errors():
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

    with server_errors():
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


def read_whole_scan(catalog: Any, run: Any) -> Exposures:
    """Everything that belongs to one image: what a mask scan has measured, and the scans that it resumes.

    Raises
    ------
    CxgiError
        As `read_exposures`, and if a scan that is resumed is not in the catalog.
    """
    exposures = read_exposures(run)
    resumed = exposures.start["cxgi"].get("resumes")
    return exposures if resumed is None else exposures.continuing(read_whole_scan(catalog, find_run(catalog, resumed)))


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
    kind, option = link.removesuffix("_uid"), _OPTIONS[link]
    named = exposures.start["cxgi"].get(link) if uid is None else uid
    if named is None or named == NO_LINK:
        return None
    if uid is not None:
        return exposures_of_kind(catalog, uid, kind)
    try:
        return exposures_of_kind(catalog, named, kind)
    except CxgiError as error:
        raise CxgiError(
            f"the {kind} run that this image names cannot be used ({error}): name another one with {option} UID, or go "
            f"on without it, {option} {NO_LINK}"
        ) from error


def linked_dark(catalog: Any, exposures: Exposures, uid: str | None = None) -> Exposures | None:
    """The dark scan that a run needs; None, and none is looked up, where it has dark readings of its own.

    Parameters as `linked_exposures`.

    Raises
    ------
    CxgiError
        As `linked_exposures`, and for a dark scan named for a run that has dark readings of its own.
    """
    if exposures.dark is None:
        return linked_exposures(catalog, exposures, "dark_uid", uid)
    if uid not in (None, NO_LINK):
        raise CxgiError(
            f"run {exposures.start['uid']} has dark readings of its own, which are used: leave the dark run out"
        )
    return None


def exposures_of_kind(catalog: Any, uid: str, kind: str) -> Exposures:
    """Exposures of a run of the kind that is expected ("reference" or "dark").

    Raises
    ------
    CxgiError
        If the run is not in the catalog or of another kind.
    """
    found = read_exposures(find_run(catalog, uid))
    purpose = found.start["cxgi"].get("purpose")
    if purpose != kind:
        raise CxgiError(f"run {uid} is no {kind} scan (purpose {purpose!r}): name another one, or {NO_LINK!r}")
    return found


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
