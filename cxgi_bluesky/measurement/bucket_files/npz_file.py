"""NPZ: one array per column, one array of a single value per word; nothing pickled."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from ...errors import CxgiError, FileFormatError
from ...masks.transform import MAX_SIZE
from .table import ATTRS, COLUMNS, FORMAT_VERSION, VERSION_KEY, BucketTable, check_version, make_table

MAX_BYTES = MAX_SIZE**2 * 16 + 65_536  # of an array: so many numbers, and the header


def read_npz(path: Path) -> BucketTable:
    """Read an NPZ file; arrays with other names are left alone.

    Raises
    ------
    CxgiError
        If the file is damaged, holds Python objects, or lacks `cxgi_buckets`, `pattern_index` or `bucket`.
    """
    arrays = read_arrays(path, only=(*COLUMNS, VERSION_KEY, *ATTRS))
    if VERSION_KEY in arrays:
        check_version(path, arrays[VERSION_KEY])
    missing = [name for name in (VERSION_KEY, *COLUMNS[:2]) if name not in arrays]
    if missing:
        raise FileFormatError(
            f"{path} lacks the array {', '.join(missing)}: it has {', '.join(arrays) or 'none that is known'}; "
            f"save pattern_index, bucket and {VERSION_KEY}={FORMAT_VERSION}, or bring in a list with --layout list"
        )
    columns = {name: arrays.pop(name) for name in COLUMNS if name in arrays}
    return make_table(path, columns, arrays)


def read_arrays(path: Path, *, only: tuple[str, ...] | None = None) -> dict[str, NDArray[Any]]:
    """Arrays of an NPZ file by name, never unpickled.

    Parameters
    ----------
    path : Path
        The NPZ file.
    only : tuple of str, optional
        Names of the arrays to read; all by default.
    """
    try:
        with path.open("rb") as stream, _open(stream) as archive:
            names = [name for name in archive.files if only is None or name in only]
            if len(set(names)) < len(names):
                raise FileFormatError(f"{path} holds {max(names, key=names.count)} twice: keep one of them")
            _check_sizes(path, archive, names)
            return {name: _read_array(path, archive, name) for name in names}
    except CxgiError:
        raise
    except Exception as error:  # damaged files make zip and numpy raise nearly anything
        raise FileFormatError(f"{path} cannot be read as NPZ ({_in_one_line(error)})") from error


def _open(stream: IO[bytes]) -> Any:
    archive = np.load(stream, allow_pickle=False)
    if not isinstance(archive, np.lib.npyio.NpzFile):
        raise ValueError("it holds a single array, as .npy files do")
    return archive


def _check_sizes(path: Path, archive: Any, names: list[str]) -> None:
    """Raise `CxgiError` for an array that would be huge; before it is unpacked."""
    sizes = {info.filename.removesuffix(".npy"): info.file_size for info in archive.zip.infolist()}
    for name in names:
        if sizes[name] > MAX_BYTES:
            raise FileFormatError(
                f"{path}: array {name} has {sizes[name]} bytes, at most {MAX_BYTES} are read (one number for each of "
                f"{MAX_SIZE} x {MAX_SIZE} patterns): is it another file?"
            )
    if len(names) > len(COLUMNS) + len(ATTRS) + 1:
        raise FileFormatError(f"{path} has {len(names)} arrays, more than a table or a list: is it another file?")


def _read_array(path: Path, archive: Any, name: str) -> NDArray[Any]:
    try:
        return np.asarray(archive[name])
    except Exception as error:  # damaged files make zip and numpy raise nearly anything
        raise FileFormatError(
            f"{path}: array {name} cannot be read ({_in_one_line(error)}): the file is damaged, "
            "or it holds Python objects instead of numbers"
        ) from error


def _in_one_line(error: BaseException) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def write_npz(path: Path, table: BucketTable) -> None:
    """Write columns and attributes as arrays, uncompressed; the zip container keeps a checksum of each.

    Parameters
    ----------
    path : Path
        The file; one that is there is replaced.
    table : BucketTable
        What to write.
    """
    arrays = {VERSION_KEY: FORMAT_VERSION, **table.attrs(), **table.columns()}
    with path.open("wb") as stream:
        np.savez(stream, allow_pickle=False, **{name: np.asarray(value) for name, value in arrays.items()})
