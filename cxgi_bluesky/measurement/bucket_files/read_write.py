"""Files of buckets: one table in CSV, NPZ or HDF5, chosen by the suffix.

The formats are described in docs/reference/files.md, so that other programs can write them.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ..._files.atomic_write import explain_write_error, whole_file
from ...errors import FileFormatError, StorageError
from .csv_file import read_csv, write_csv
from .hdf5_file import read_hdf5, write_hdf5
from .npz_file import read_npz, write_npz
from .plain_lists import LAYOUTS, read_list
from .table import FORMAT_VERSION, BucketTable, naming

__all__ = [
    "FORMAT_VERSION",
    "LAYOUTS",
    "SUFFIXES",
    "BucketTable",
    "check_target",
    "naming",
    "read_buckets",
    "read_csv",
    "read_list",
    "write_buckets",
]

_Reader = Callable[[Path], BucketTable]
_Writer = Callable[[Path, BucketTable], None]
_FORMATS: dict[str, tuple[_Reader, _Writer]] = {
    ".csv": (read_csv, write_csv),
    ".npz": (read_npz, write_npz),
    ".h5": (read_hdf5, write_hdf5),
    ".hdf5": (read_hdf5, write_hdf5),
}
SUFFIXES = tuple(_FORMATS)


def read_buckets(path: str | Path) -> BucketTable:
    """Read a file of buckets.

    Parameters
    ----------
    path : str or Path
        Its suffix gives the format: .csv, .npz, .h5 or .hdf5.

    Raises
    ------
    CxgiError
        If the suffix is unknown, the file cannot be read, lacks a column, was written in a newer
        version of the format, or contradicts itself; the message names the file.
    """
    path = Path(path)
    return _format_of(path)[0](path)


def write_buckets(path: str | Path, table: BucketTable, *, overwrite: bool = False) -> Path:
    """Write a table; the file appears whole or not at all.

    Parameters
    ----------
    path : str or Path
        Its suffix gives the format: .csv, .npz, .h5 or .hdf5.
    table : BucketTable
    overwrite : bool
        Whether a file that is already there may be replaced.

    Raises
    ------
    CxgiError
        If the suffix is unknown, the file exists and may not be replaced, or it cannot be written.
    """
    path = check_target(path, overwrite=overwrite)
    with explain_write_error(path, "choose another place"), whole_file(path) as part:
        _format_of(path)[1](part, table)
    return path


def check_target(path: str | Path, *, overwrite: bool) -> Path:
    """The path, if a file of buckets may be written there; checked before work is spent on it.

    Parameters
    ----------
    path : str or Path
        In a folder that exists; its suffix gives the format: .csv, .npz, .h5 or .hdf5.
    overwrite : bool
        Whether a file that is already there may be replaced.
    """
    path = Path(path)
    _format_of(path)
    if not path.parent.is_dir():
        raise StorageError(f"folder {path.parent} does not exist: make it first")
    if path.exists() and not overwrite:
        raise StorageError(f"{path} exists already: choose another name, or allow it to be replaced (--force)")
    return path


def _format_of(path: Path) -> tuple[_Reader, _Writer]:
    if path.suffix.lower() not in _FORMATS:
        raise FileFormatError(
            f"{path} has the unknown suffix {path.suffix!r}: a file of buckets ends with {', '.join(SUFFIXES)}; "
            "bring in other files with cxgi convert --layout list"
        )
    return _FORMATS[path.suffix.lower()]
