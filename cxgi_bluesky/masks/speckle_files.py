"""Write speckle patterns into their asset, frame by frame as a camera gives them."""

from __future__ import annotations

import json
import math
import os
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

from .._files.atomic_write import explain_write_error
from ..errors import FileFormatError, StorageError
from .speckle_set import BASIS, GROUP, VERSION, VERSION_ATTR, SpeckleSet, check_patterns, digest

CHUNK_BYTES = 2**18  # well inside HDF5's cache, so that single frames do not write whole chunks


class SpeckleWriter:
    """An asset in the making: NAME.part until `finish` has given it its sha256 and its name.

    A NAME.part that is there is never overwritten: after a crash it holds the frames so far in /speckles/patterns
    (rows that were not reached are 0).

    A frame that is put again replaces the earlier one. A recording that was ended early leaves the frames before its
    first gap.

    Parameters
    ----------
    path : path
        A new file; an asset is never overwritten.
    count : int
        Frames at most.
    size : (int, int)
        Rows and columns.
    pixel_um : float
        Pixel pitch at the object.
    dtype : dtype
        Of the frames: what the camera gives.
    grain_um, board_sha256 : optional
        As in `SpeckleSet`.
    source : mapping
        How they are recorded; plain values.
    full_well : float
        A pixel that counts so much is saturated, and its frame refused.

    Raises
    ------
    CxgiError
        If the file or its .part exists or cannot be written, a number is impossible or the frames are no numbers.
    """

    def __init__(
        self,
        path: str | Path,
        count: int,
        size: tuple[int, ...],
        *,
        pixel_um: float,
        dtype: DTypeLike = "<u2",
        grain_um: float | None = None,
        board_sha256: str | None = None,
        source: Mapping[str, Any] | None = None,
        full_well: float = math.inf,
    ) -> None:
        import h5py

        self.path = Path(path).absolute()
        self._part = self.path.with_name(self.path.name + ".part")
        check_patterns(path, (count, *size), pixel_um)
        kind = np.dtype(dtype).newbyteorder("<")
        if kind.kind not in "iuf":
            raise FileFormatError(f"speckle patterns of {kind} are no numbers: give integers or floats")
        if self.path.exists():
            raise FileFormatError(
                f"{self.path} exists, and recorded patterns are never overwritten: choose another name"
            )
        attrs = {"pixel_um": float(pixel_um), "grain_um": grain_um, "board_sha256": board_sha256}
        self._attrs = {name: value for name, value in attrs.items() if value is not None}
        self._attrs["source"] = json.dumps(dict(source or {}), sort_keys=True)
        self._full_well = full_well
        self._dark: list[NDArray[np.float64]] = []
        self._done = np.zeros(count, dtype=bool)
        self._finished: SpeckleSet | None = None
        with explain_write_error(self._part, "choose another place"):
            try:
                self._file = h5py.File(self._part, "x", libver=("v108", "v108"))
            except FileExistsError as error:
                raise FileFormatError(
                    f"{self._part} holds a recording that is still running or was cut short: choose another name, or "
                    "move it away (its frames are in /speckles/patterns, for write_speckles) or delete it to discard "
                    "them"
                ) from error
        chunk = min(count, max(1, CHUNK_BYTES // (kind.itemsize * math.prod(size))))
        self._frames = self._file.create_group(GROUP).create_dataset(
            "patterns", (count, *size), kind, maxshape=(None, *size), chunks=(chunk, *size), fletcher32=True
        )

    def __enter__(self) -> SpeckleWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.abandon()

    def put(self, index: int, frame: ArrayLike) -> None:
        """Store the frame of a pattern_index.

        Parameters
        ----------
        index : int
            The pattern_index, 0..count - 1.
        frame : array_like, shape (rows, columns)
            As the camera gives it (counts), its dark not subtracted.

        Raises
        ------
        CxgiError
            If there is no such index, or the frame has another shape, is not finite, or is saturated.
        """
        if not 0 <= index < len(self._done):
            raise FileFormatError(f"frame {index} is outside 0..{len(self._done) - 1} of the recording")
        self._frames[index] = self._check(f"frame {index}", frame)
        self._file.flush()  # a crash leaves a file that can be read
        self._done[index] = True

    def put_dark(self, frame: ArrayLike) -> None:
        """Take a frame without beam; the mean of all of them is subtracted when patterns are read."""
        self._dark.append(np.asarray(self._check("dark frame", frame), dtype=np.float64))

    def _check(self, name: str, frame: ArrayLike) -> NDArray[Any]:
        values = np.asarray(frame)
        if values.shape != self._frames.shape[1:]:
            raise FileFormatError(f"{name} has shape {values.shape}, the recording {self._frames.shape[1:]}")
        if not np.isfinite(values).all():
            raise FileFormatError(f"{name} has pixels that are no numbers: record it again")
        saturated = np.count_nonzero(values >= self._full_well)
        if saturated:
            raise FileFormatError(
                f"{name} is saturated ({saturated} pixels at {self._full_well:g} counts): shorten exposure_s"
            )
        return values

    @property
    def frames(self) -> int:
        """Frames before the first gap."""
        return len(self._done) if self._done.all() else int(np.argmin(self._done))

    def abandon(self) -> None:
        """Leave no file behind."""
        self._file.close()
        self._part.unlink(missing_ok=True)

    def finish(self) -> SpeckleSet:
        """Give the asset its sha256 and its name; without a single frame nothing is left behind.

        Raises
        ------
        CxgiError
            If nothing was recorded, or the file cannot be written.
        """
        if self._finished is not None:
            return self._finished
        if not self.frames:
            self.abandon()
            raise FileFormatError(f"no speckle pattern was recorded for {self.path}: record again")
        with explain_write_error(self.path, "choose another place"):
            self._close(self.frames)
            self._part.rename(self.path)
        self._finished = SpeckleSet.open(self.path)
        return self._finished

    def _close(self, count: int) -> None:
        import h5py

        self._frames.resize(count, axis=0)
        group = self._file[GROUP]
        dark = np.mean(self._dark, axis=0).astype("<f4") if self._dark else None
        if dark is not None:
            group.create_dataset("dark", data=dark, fletcher32=True)
        self._attrs["sha256"] = digest(self._frames, dark)
        group.attrs[VERSION_ATTR] = VERSION
        for name, value in self._attrs.items():  # text of fixed length, as in bucket files
            text = value.encode() if isinstance(value, str) else b""
            group.attrs[name] = np.array(text, h5py.string_dtype("utf-8", len(text))) if text else value
        self._file.close()


def write_speckles(path: str | Path, patterns: ArrayLike, **options: Any) -> SpeckleSet:
    """Make an asset of patterns that were recorded elsewhere.

    Parameters
    ----------
    path : path
        A new file; an asset is never overwritten.
    patterns : array-like, shape (M, rows, columns)
    **options
        `pixel_um` and the options of `SpeckleWriter`.

    Raises
    ------
    CxgiError
        As `SpeckleWriter`.
    """
    stack = np.asarray(patterns)
    check_patterns(path, stack.shape, options.get("pixel_um", math.nan))
    with SpeckleWriter(path, stack.shape[0], stack.shape[1:], dtype=stack.dtype, **options) as writer:
        for index, frame in enumerate(stack):
            writer.put(index, frame)
    return writer.finish()


# ---------------------------------------------------------------- in a data folder


FOLDER = "speckles"


def register_speckles(asset: SpeckleSet | str | Path, folder: str | Path) -> SpeckleSet:
    """Keep an asset under its sha256 in a data folder: linked if that is possible, else copied.

    Registering it again changes nothing.

    Parameters
    ----------
    asset : SpeckleSet, str or Path
        The patterns, or their file.
    folder : str or Path
        The data folder.

    Returns
    -------
    SpeckleSet
        The same patterns, as many of them, in the data folder.

    Raises
    ------
    CxgiError
        If the asset is not sound or the folder cannot be written.
    """
    speckles = asset if isinstance(asset, SpeckleSet) else SpeckleSet.open(asset)
    target = Path(folder) / FOLDER / f"{speckles.sha256}.h5"
    if not target.exists():
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            _link_or_copy(speckles.path, target)
        except OSError as error:
            raise StorageError(
                f"speckle patterns cannot be kept in {target.parent} ({error}): make it writable"
            ) from error
    return SpeckleSet.open(target).first(speckles.count)


def _link_or_copy(source: Path, target: Path) -> None:
    try:
        os.link(source, target)
    except OSError:  # another file system
        part = target.with_suffix(f".{os.getpid()}.part")
        shutil.copyfile(source, part)
        part.replace(target)


def find_speckles(
    named: Mapping[str, Any], *, path: str | Path | None = None, folder: str | Path | None = None
) -> SpeckleSet:
    """Find the patterns that a run names.

    Parameters
    ----------
    named : mapping
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
    if named.get("basis") != BASIS or "sha256" not in named:
        raise FileFormatError(f"pattern set {dict(named)!r} names no recorded speckle patterns")
    if not re.fullmatch("[0-9a-f]+", str(named["sha256"])):  # a file is named after it
        raise FileFormatError(f"sha256 {named['sha256']!r} of speckle patterns: a digest has digits of 0-9a-f alone")
    if path is not None:
        speckles = SpeckleSet.open(path)
        if speckles.sha256 != named["sha256"]:
            raise FileFormatError(
                f"{path} holds other patterns (sha256 {speckles.sha256[:12]}) than the run was made with "
                f"({named['sha256'][:12]}): give the recording of that run"
            )
        return speckles.first(named["count"])
    paths = [Path(folder) / FOLDER / f"{named['sha256']}.h5"] if folder is not None else []
    paths += [Path(named["path"])] if named.get("path") else []
    for candidate in paths:
        if candidate.is_file():
            return find_speckles(named, path=candidate)
    looked = ", ".join(map(str, paths)) or "no folder"
    raise FileFormatError(
        f"the speckle patterns with sha256 {named['sha256']} are not here (looked at {looked}): "
        f"give their file with --speckles FILE (speckles=...), or register it in the data folder"
    )
