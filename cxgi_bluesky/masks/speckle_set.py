"""Speckle patterns recorded with a camera: an asset in a file, known by its sha256.

A run names the set by a few values (`SpeckleSet.to_dict`); the patterns themselves are recorded once and
stay in their HDF5 file, from which they are read a few at a time. The layout is in docs/reference/files.md.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .._files.hdf5_dataset import check_no_link, dataset_in
from ..errors import CxgiError, FileFormatError
from .pattern_set import PatternSet

BASIS = "speckle"
GROUP, VERSION_ATTR, VERSION = "speckles", "cxgi_speckles", 1
READ_BYTES = 16 * 2**20
MAX_FRAME = 32_000_000  # pixels
_DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError, MemoryError)


class Patterns(Protocol):
    """M patterns of (rows, columns) pixels; an ndarray, an HDF5 dataset and a `SpeckleSet` are such."""

    @property
    def shape(self) -> tuple[int, ...]:
        """(M, rows, columns)."""

    def __getitem__(self, key: Any) -> Any: ...


@dataclass(frozen=True, eq=False)
class SpeckleSet:
    """Recorded reference patterns, read from their file when they are needed; made by `open`.

    Attributes
    ----------
    path : Path
    size : (int, int)
        Rows and columns.
    count : int
        How many of the recorded patterns are used, the first ones; pattern_index is the row in the file.
    recorded : int
        How many the file holds.
    sha256 : str
        Digest of all that is recorded (`digest`).
    pixel_um : float
        Pixel pitch at the object.
    grain_um : float, optional
        Full width at half maximum of the patterns' autocorrelation, where it is given.
    board_sha256 : str, optional
        The `SpeckleBoard` at whose positions they were recorded.
    source : dict
        How they were recorded.
    """

    path: Path
    size: tuple[int, int]
    count: int
    recorded: int
    sha256: str
    pixel_um: float
    grain_um: float | None = None
    board_sha256: str | None = None
    source: Mapping[str, Any] = field(default_factory=dict)
    basis: str = BASIS

    @classmethod
    def open(cls, path: str | Path) -> SpeckleSet:
        """Open an asset and check it against its sha256 (a second for 10000 patterns of 59 x 59).

        Raises
        ------
        CxgiError
            If the file is missing, damaged, cut short, no asset of ours, or its patterns are not those
            of its sha256.
        """
        path = Path(path).absolute()
        with _readable(path) as file:
            made = _describe(path, file)
            found = digest(file[GROUP]["patterns"], _dark(file))
        if found != made.sha256:
            raise FileFormatError(
                f"speckle patterns {path} are not those that were recorded (sha256 {found[:12]}, "
                f"recorded as {made.sha256[:12]}): use a sound copy"
            )
        return made

    @property
    def shape(self) -> tuple[int, ...]:
        """(M, rows, columns)."""
        return self.count, *self.size

    @property
    def pattern_index(self) -> NDArray[np.int64]:
        """The M pattern indices, shape (M,): 0, 1, 2, ..."""
        return np.arange(self.count)

    def __len__(self) -> int:
        return self.count

    def first(self, count: int) -> SpeckleSet:
        """The first patterns alone: the same asset, fewer exposures.

        Raises
        ------
        CxgiError
            If fewer were recorded.
        """
        if not 1 <= count <= self.recorded:
            raise FileFormatError(
                f"count {count} is outside 1..{self.recorded}, the speckle patterns of {self.path.name}"
            )
        return replace(self, count=int(count))

    def __getitem__(self, key: Any) -> NDArray[np.float32]:
        """Patterns by index, slice or list of indices, the camera's dark frame subtracted."""
        index = np.arange(self.count)[key]
        if not index.size:
            return np.empty((0, *self.size), dtype=np.float32)
        frames = self._read(index) if index.ndim else self._read(index[None])[0]
        return frames.astype(np.float32) - self._dark_frame

    def _read(self, index: NDArray[np.int64]) -> Any:
        low, high = int(index.min()), int(index.max()) + 1
        with _readable(self.path) as file:
            frames = file[GROUP]["patterns"]
            if high - low <= 4 * index.size:  # a block is read far faster than scattered rows
                return frames[low:high][index - low]
            rows, position = np.unique(index, return_inverse=True)
            return frames[rows][position]

    @cached_property
    def _dark_frame(self) -> Any:
        with _readable(self.path) as file:
            dark = _dark(file)
        return np.float32(0) if dark is None else dark

    def to_dict(self) -> dict[str, Any]:
        """The few values that go into the start document of a run; `path` is a hint, sha256 is the identity."""
        return {
            "basis": self.basis,
            "size": list(self.size),
            "count": self.count,
            "recorded": self.recorded,
            "pixel_um": self.pixel_um,
            "grain_um": self.grain_um,
            "sha256": self.sha256,
            "path": str(self.path),
        }


AnyPatternSet = PatternSet | SpeckleSet


@contextmanager
def _readable(path: Path) -> Iterator[Any]:
    """The file, open for as short as it is read; whatever is wrong with it is a `CxgiError`."""
    import h5py

    try:
        path.open("rb").close()  # h5py's own message for a missing file is long
        with h5py.File(path, "r") as file:
            yield file
    except CxgiError as error:
        raise (error if str(path) in str(error) else FileFormatError(f"{path}: {error}")) from error
    except _DAMAGE as error:
        reason = " ".join(str(error).split())
        raise FileFormatError(f"speckle patterns {path} cannot be read ({reason}): use a sound copy") from error


def digest(patterns: Any, dark: Any = None) -> str:
    """sha256 of shape, type (little-endian) and values of the patterns and, if there is one, of the dark frame.

    Parameters
    ----------
    patterns : ndarray or HDF5 dataset, shape (M, rows, columns)
        Frames as the camera gave them.
    dark : ndarray or HDF5 dataset, shape (rows, columns), optional
        Mean frame without beam.
    """
    made = hashlib.sha256()
    for frames in (patterns, dark):
        if frames is None:
            continue
        kind = np.dtype(frames.dtype).newbyteorder("<")
        made.update(json.dumps([list(frames.shape), kind.str]).encode())
        step = max(1, READ_BYTES // max(1, kind.itemsize * math.prod(frames.shape[1:])))
        for start in range(0, frames.shape[0], step):
            made.update(np.ascontiguousarray(frames[start : start + step], dtype=kind).tobytes())
    return made.hexdigest()


def _dark(file: Any) -> NDArray[np.float32] | None:
    group = file[GROUP]
    if "dark" not in group:
        return None
    return np.asarray(dataset_in(group, "dark", max_values=MAX_FRAME)[()], dtype=np.float32)


def _describe(path: Path, file: Any) -> SpeckleSet:
    """The set that a file describes."""
    check_no_link(file, GROUP)
    group = file.get(GROUP)
    if group is None or group.attrs.get(VERSION_ATTR) != VERSION:
        raise FileFormatError(
            f"{path} holds no speckle patterns: expected the group /{GROUP} with {VERSION_ATTR} = {VERSION}"
        )
    attrs = {name: _plain(value) for name, value in group.attrs.items()}
    patterns = dataset_in(group, "patterns", max_values=2**53)  # they are read a few at a time
    check_patterns(path, patterns.shape, attrs["pixel_um"])
    if math.prod(patterns.shape[1:]) > MAX_FRAME:
        raise FileFormatError(
            f"{path}: patterns of {patterns.shape[1:]} pixels, at most {MAX_FRAME} are read: bin them"
        )
    if "dark" in group and group["dark"].shape != patterns.shape[1:]:
        raise FileFormatError(f"{path}: a dark frame of {group['dark'].shape} for patterns of {patterns.shape[1:]}")
    count, rows, columns = patterns.shape
    return SpeckleSet(
        path,
        (rows, columns),
        count,
        count,
        attrs["sha256"],
        float(attrs["pixel_um"]),
        attrs.get("grain_um"),
        attrs.get("board_sha256"),
        json.loads(attrs.get("source", "{}")),
    )


def _plain(value: Any) -> Any:
    if isinstance(value, bytes):
        return value.decode()
    return value.item() if hasattr(value, "item") else value


def check_patterns(what: object, shape: tuple[int, ...], pixel_um: float) -> None:
    """Raise `CxgiError` for what can be no stack of images with a pixel size.

    Parameters
    ----------
    what : object
        For messages: the file.
    shape : tuple of int
        Of the patterns: (M, rows, columns).
    pixel_um : float
        Pixel pitch at the object (um).
    """
    if len(shape) != 3 or 0 in shape:
        raise FileFormatError(f"{what}: patterns of shape {tuple(shape)}: give a stack (M, rows, columns) of images")
    if not (math.isfinite(pixel_um) and pixel_um > 0):
        raise FileFormatError(f"{what}: pixel_um {pixel_um} is no length in um")
