"""Where the recorded patterns of a data folder are: ``speckles/SHA256.h5``, each once."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from .errors import CxgiError
from .speckle_set import BASIS, SpeckleSet

FOLDER = "speckles"


def register_speckles(asset: SpeckleSet | str | Path, folder: str | Path) -> SpeckleSet:
    """Keep an asset under its sha256 in a data folder: linked if that is possible, else copied.

    Registering it again changes nothing.

    Raises
    ------
    CxgiError
        If the asset is not sound or the folder cannot be written.
    """
    speckles = asset if isinstance(asset, SpeckleSet) else SpeckleSet.open(asset)
    place = Path(folder) / FOLDER / f"{speckles.sha256}.h5"
    if not place.exists():
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            _link_or_copy(speckles.path, place)
        except OSError as error:
            raise CxgiError(f"speckle patterns cannot be kept in {place.parent} ({error}): make it writable") from error
    return SpeckleSet.open(place).first(speckles.count)


def _link_or_copy(source: Path, place: Path) -> None:
    try:
        os.link(source, place)
    except OSError:  # another file system
        part = place.with_suffix(f".{os.getpid()}.part")
        shutil.copyfile(source, part)
        part.replace(place)


def find_speckles(
    words: Mapping[str, Any], *, path: str | Path | None = None, folder: str | Path | None = None
) -> SpeckleSet:
    """The patterns that a run names.

    Parameters
    ----------
    words : mapping
        ``cxgi.pattern_set`` of the run's start document.
    path : path, optional
        The asset, if you know where it is; otherwise it is looked for in the data folder and then where it
        was when the run was made.
    folder : path, optional
        The data folder.

    Raises
    ------
    CxgiError
        If the set is no speckle set, the patterns are in none of these places, or those at `path` are others.
    """
    if words.get("basis") != BASIS or "sha256" not in words:
        raise CxgiError(f"pattern set {dict(words)!r} names no recorded speckle patterns")
    if path is not None:
        speckles = SpeckleSet.open(path)
        if speckles.sha256 != words["sha256"]:
            raise CxgiError(
                f"{path} holds other patterns (sha256 {speckles.sha256[:12]}) than the run was made with "
                f"({words['sha256'][:12]}): give the recording of that run"
            )
        return speckles.first(words["count"])
    places = [Path(folder) / FOLDER / f"{words['sha256']}.h5"] if folder is not None else []
    places += [Path(words["path"])] if words.get("path") else []
    for place in places:
        if place.is_file():
            return find_speckles(words, path=place)
    looked = ", ".join(map(str, places)) or "no folder"
    raise CxgiError(
        f"the speckle patterns with sha256 {words['sha256']} are not here (looked at {looked}): "
        f"give their file with --speckles FILE (speckles=...), or register it in the data folder"
    )
