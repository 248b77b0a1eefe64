"""Runs out of the catalog: found, read, summarised, and those that belong to an image."""

from __future__ import annotations

from typing import Any

from ..errors import CxgiError
from ..exposures import Exposures

NO_LINK = "none"  # instead of a run's uid


def find_run(catalog: Any, uid: str) -> Any:
    """The run whose uid is or begins with `uid`.

    Raises
    ------
    CxgiError
        If there is none, or more than one.
    """
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
    uid = exposures.start["cxgi"].get(link) if uid is None else uid
    if uid is None or uid == NO_LINK:
        return None
    linked = read_exposures(find_run(catalog, uid))
    purpose, expected = linked.start["cxgi"].get("purpose"), link.removesuffix("_uid")
    if purpose != expected:
        raise CxgiError(f"run {uid} is no {expected} scan (purpose {purpose!r}): name another one, or {NO_LINK!r}")
    return linked


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
