"""HDF5: a group /buckets, one dataset per column with `units`, one attribute of the group per word."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from ..._files.hdf5_dataset import check_no_link, dataset_in
from ...errors import CxgiError, FileFormatError
from ...masks.transform import MAX_SIZE
from .table import (
    ATTRS,
    COLUMNS,
    FORMAT_VERSION,
    VERSION_KEY,
    BucketTable,
    check_version,
    make_table,
    naming,
    one_line,
)

GROUP = "buckets"
_DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError, MemoryError)


def read_hdf5(path: Path) -> BucketTable:
    """Read the group /buckets of an HDF5 file; whatever else the file holds is left alone.

    Raises
    ------
    CxgiError
        If the file is damaged or no HDF5 file, has no such group, or a dataset is missing or holds no numbers.
    """
    import h5py

    try:
        path.open("rb").close()  # h5py's own message for a missing file is long
        with h5py.File(path, "r") as file:
            columns, attrs = _contents(path, file)
    except CxgiError:
        raise
    except _DAMAGE as error:
        reason = " ".join(str(error).split())
        raise FileFormatError(f"{path} cannot be read as HDF5 ({reason})") from error
    return make_table(path, columns, attrs)


def _contents(path: Path, file: Any) -> tuple[dict[str, Any], dict[str, Any]]:
    with naming(path):
        check_no_link(file, GROUP)
    group = file.get(GROUP)
    if group is None or VERSION_KEY not in group.attrs:
        raise FileFormatError(
            f"{path} holds no table of buckets: expected the group /{GROUP} with the attribute {VERSION_KEY} "
            f"(the file has {', '.join(file) or 'nothing'})"
        )
    check_version(path, group.attrs[VERSION_KEY])
    missing = [name for name in COLUMNS[:2] if name not in group]
    if missing:
        raise FileFormatError(
            f"{path} lacks the dataset {', '.join(missing)} in /{GROUP}: it has {', '.join(group) or 'none'}"
        )
    columns = {name: _column(path, group, name) for name in COLUMNS if name in group}
    attrs = {name: group.attrs[name] for name in ATTRS if name in group.attrs and name != "unit"}
    return columns, attrs | _unit(path, group)


def _column(path: Path, group: Any, name: str) -> Any:
    with naming(path):
        return dataset_in(group, name, max_values=MAX_SIZE**2)[()]


def _unit(path: Path, group: Any) -> dict[str, Any]:
    """The unit that the columns of signals have in common, from their `units`."""
    with naming(path):
        said = {
            name: one_line("units", group[name].attrs["units"])
            for name in COLUMNS[1:]
            if name in group and "units" in group[name].attrs
        }
    if len(set(said.values())) > 1:
        each = ", ".join(f"{name} in {unit}" for name, unit in said.items())
        raise FileFormatError(f"{path}: {each}: give all columns the same units")
    return {"unit": next(iter(said.values()))} if said else {}


def write_hdf5(path: Path, table: BucketTable) -> None:
    """Write the table, with checksums wherever HDF5 since 1.8 keeps them.

    Parameters
    ----------
    path : Path
        The file; one that is there is replaced.
    table : BucketTable
        What to write.
    """
    import h5py

    with h5py.File(path, "w", libver=("v108", "v108")) as file:
        group = file.create_group(GROUP)
        group.attrs[VERSION_KEY] = FORMAT_VERSION
        for name, value in table.attrs().items():
            if name != "unit":
                group.attrs[name] = _attribute(value)
        for name, column in table.columns().items():
            dataset = group.create_dataset(name, data=column, fletcher32=True)
            if table.unit is not None and name != "pattern_index":
                dataset.attrs["units"] = _attribute(table.unit)


def _attribute(value: Any) -> Any:
    """Text of fixed length: a damaged heap of variable-length strings can hang the HDF5 library."""
    import h5py

    if not isinstance(value, str):
        return value
    text = value.encode()
    return np.array(text, dtype=h5py.string_dtype("utf-8", len(text)))
