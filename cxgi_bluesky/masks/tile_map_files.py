"""Files of tile maps: HDF5 with a group /tile_maps, or a folder of images named by pattern or tile."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._files.hdf5_dataset import check_no_link, dataset_in
from ..errors import CxgiError, FileFormatError, StorageError
from .board import MaskBoard
from .transform import check_size

Map = NDArray[np.float32]
Content = dict[str, Any]

FORMAT_VERSION = 1
GROUP = "tile_maps"
MAX_VALUES = 210_000_000  # of all maps together, 0.84 GB: 768 tiles of 64 x 64 pixels with 8 x 8 values each
_DAMAGE = (OSError, RuntimeError, KeyError, ValueError, TypeError, MemoryError)


def write_hdf5(path: Path, maps: Any) -> None:
    """Write maps of tiles.

    Parameters
    ----------
    path : Path
        The HDF5 file; one that is there is replaced.
    maps : FineTileMaps or TileMaps
        What to write.
    """
    import h5py

    try:
        with h5py.File(path, "w", libver=("v108", "v108")) as file:
            group = file.create_group(GROUP)
            group.attrs["cxgi_tile_maps"] = FORMAT_VERSION
            group.attrs["size"], group.attrs["subpixels"] = maps.size, maps.subpixels
            for name in ("board_sha256", "source"):
                text = (getattr(maps, name) or "").encode()
                if text:
                    group.attrs[name] = np.array(text, dtype=h5py.string_dtype("utf-8", len(text)))
            group.create_dataset("pattern_index", data=maps.pattern_index, fletcher32=True)
            chunk = (1, *maps.maps.shape[1:])
            group.create_dataset("maps", data=maps.maps, chunks=chunk, fletcher32=True)
            if maps.open_map is not None:
                group.create_dataset("open_map", data=maps.open_map, fletcher32=True)
    except OSError as error:
        raise StorageError(f"tile maps cannot be written to {path} ({error}): choose another file") from error


def read_hdf5(path: Path) -> Content:
    """Content of an HDF5 file, by the names of `FineTileMaps`."""
    import h5py

    try:
        path.open("rb").close()
        with h5py.File(path, "r") as file:
            check_no_link(file, GROUP)
            return _from_group(path, file.get(GROUP))
    except CxgiError as error:
        raise FileFormatError(f"{path}: {error}") from error
    except _DAMAGE as error:
        raise FileFormatError(f"{path} cannot be read as tile maps ({' '.join(str(error).split())})") from error


def _from_group(path: Path, group: Any) -> Content:
    if group is None or "cxgi_tile_maps" not in group.attrs:
        raise FileFormatError(f"no tile maps: expected the group /{GROUP} with the attribute cxgi_tile_maps")
    if int(group.attrs["cxgi_tile_maps"]) != FORMAT_VERSION:
        raise FileFormatError(
            f"version {group.attrs['cxgi_tile_maps']} of the format; this release reads {FORMAT_VERSION}"
        )
    size = check_size(int(group.attrs["size"]))
    return {
        "size": size,
        "subpixels": int(group.attrs["subpixels"]),
        "pattern_index": dataset_in(group, "pattern_index", max_values=size**2)[()].astype(np.int64),
        "maps": _read_maps(group, "maps"),
        "open_map": _read_maps(group, "open_map") if "open_map" in group else None,
        "board_sha256": _text(group.attrs.get("board_sha256")),
        "source": _text(group.attrs.get("source")) or path.name,
    }


def _read_maps(group: Any, name: str) -> Map:
    """Numbers of a dataset, made float32 as they are read: never twice in memory."""
    dataset = dataset_in(group, name, max_values=MAX_VALUES)
    maps = np.empty(dataset.shape, np.float32)
    if maps.size:
        dataset.read_direct(maps)
    return maps


def _text(value: Any) -> str | None:
    if value is None:
        return None
    return value.decode() if isinstance(value, bytes) else str(value)


def read_folder(path: Path, board: MaskBoard | None, size: int | None = None) -> Content:
    """Content of a folder of images, by the names of `FineTileMaps`.

    Parameters
    ----------
    path : Path
        The folder; its images are described in `FineTileMaps.from_file`.
    board : MaskBoard or None
        Gives n, and which pattern each tile carries; needed for images called ``tile_NUMBER``.
    size : int, optional
        Mask pixels per side n, without a board; by default each value of an image is a mask pixel.
    """
    from .._files.image_file import is_image_path, read_image_file

    images: dict[int, Map] = {}
    opened = None
    for file in sorted(path.iterdir()):
        name = re.fullmatch(r"(pattern|tile)_(\d+)|open", file.stem)
        if name is None or not is_image_path(file):
            continue
        image = read_image_file(file).image.astype(np.float32)
        if name[1] is None:
            opened = image
            continue
        if image.size * (len(images) + 1) > MAX_VALUES // 2:  # in a list, then in an array
            raise FileFormatError(f"folder {path} has more than {MAX_VALUES // 2} values in its images: bin them")
        index = _index_of(file, name[1], int(name[2]), board)
        if index in images:
            raise FileFormatError(f"{file}: pattern_index {index} has an image already: keep one per tile")
        images[index] = image
    if not images:
        raise FileFormatError(f"folder {path} has no image called pattern_NUMBER or tile_NUMBER (.npy, .tiff or .png)")
    shapes = {image.shape for image in images.values()} | ({opened.shape} if opened is not None else set())
    if len(shapes) > 1:
        raise FileFormatError(f"folder {path} has images of different shapes ({', '.join(map(str, sorted(shapes)))})")
    ((rows, columns),) = shapes
    size = board.size if board is not None else size if size is not None else rows
    if rows != columns or rows % max(size, 1):
        raise FileFormatError(
            f"images of shape {(rows, columns)} for tiles of {size} pixels: cut them to whole mask pixels"
        )
    return {
        "size": size,
        "subpixels": rows // size,
        "pattern_index": np.array(list(images)),
        "maps": np.array(list(images.values())),
        "open_map": opened,
        "board_sha256": None if board is None else board.sha256,
        "source": f"folder {path.name}",
    }


def _index_of(file: Path, kind: str, number: int, board: MaskBoard | None) -> int:
    if kind == "pattern":
        return number
    if board is None:
        raise FileFormatError(
            f"{file}: named by a tile number, which only the board translates: give the board (--board)"
        )
    if number >= board.pattern_count:
        raise FileFormatError(f"{file}: board {board.name!r} has patterns on tiles 0..{board.pattern_count - 1} only")
    return board.pattern_index[number]
