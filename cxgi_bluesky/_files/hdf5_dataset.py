"""HDF5 datasets that lie in their own file and are of bearable size; checked before a value is read."""

from __future__ import annotations

import math
from typing import Any

from ..errors import FileFormatError

MAX_CHUNK = 2**25  # numbers: HDF5 unpacks a chunk as a whole


def dataset_in(group: Any, name: str, *, max_values: int) -> Any:
    """A dataset of numbers that lies in the file itself.

    Parameters
    ----------
    group : h5py.Group
    name : str
    max_values : int
        As many numbers it may have.

    Raises
    ------
    KeyError
        If there is no such name.
    CxgiError
        For links to other files, external and virtual storage, what holds no numbers, and too many of them; the
        caller names the file.
    """
    import h5py

    where = f"{group.name}/{name}"
    check_no_link(group, name)
    dataset = group[name]
    if not isinstance(dataset, h5py.Dataset) or dataset.dtype.kind not in "iuf" or dataset.shape is None:
        what = f"holds {dataset.dtype}" if isinstance(dataset, h5py.Dataset) else "is a group"
        raise FileFormatError(f"{where} {what}, not numbers: write it as float64 (pattern_index as int64)")
    if dataset.external or dataset.is_virtual:
        raise FileFormatError(f"{where} has its numbers in other files: copy them into this one (h5repack, or h5py)")
    if math.prod(dataset.shape) > max_values:
        raise FileFormatError(
            f"{where} has {math.prod(dataset.shape)} numbers, at most {max_values} are read: wrong file?"
        )
    if dataset.chunks and math.prod(dataset.chunks) > MAX_CHUNK:
        raise FileFormatError(f"{where} has chunks of {math.prod(dataset.chunks)} numbers: write it in smaller ones")
    return dataset


def check_no_link(group: Any, name: str) -> None:
    """Raise `CxgiError` if a name is a link to something elsewhere; nothing is opened there.

    Parameters
    ----------
    group : h5py.Group
        Where the name is looked up; a file is one too.
    name : str
        A name that is not there passes.
    """
    import h5py

    link = group.get(name, getlink=True) if name in group.keys() else None  # noqa: SIM118 (`in group` follows links)
    if isinstance(link, h5py.ExternalLink):
        raise FileFormatError(
            f"{group.name}/{name} is a link into {link.filename!r}: copy what is meant into this file"
        )
    if isinstance(link, h5py.SoftLink):
        raise FileFormatError(f"{group.name}/{name} is a link to {link.path!r}: put what is meant in its place")
