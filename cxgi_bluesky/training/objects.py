"""Pools of random objects: drawn once, kept in a file, read by every process that trains; and the user's own images."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .._files.atomic_write import remove_leftovers, whole_file
from .._files.image_file import is_image_path, read_image_file
from ..errors import ConfigError, StorageError
from ..simulation.random_objects import DRAWING_VERSION, random_object, spread

Pool = NDArray[np.uint8]
OwnImage = NDArray[np.float32]

MAX_SIDE = 1024  # of the user's own images, whose shorter side is averaged down to at most about this
_TELLING = 4000  # objects from one word to the next: about a minute
_TRIALS = 4  # places to look for something to see in an image


def object_pool(
    count: int,
    size: int,
    seed: int,
    folder: Path,
    families: Mapping[str, float] | None = None,
    note: Callable[[str], None] = lambda text: None,
) -> Pool:
    """Random objects, drawn once and then read from a file.

    Parameters
    ----------
    count : int
        Objects.
    size : int
        Pixels per side.
    seed : int
        With which they are drawn.
    folder : Path
        Cache.
    families : mapping of str to float, optional
        Family of objects to its share (default: the shares of `random_objects`).
    note : callable, optional
        Takes a line of text about the progress (default: nothing is said).

    Returns
    -------
    ndarray of uint8, shape (count, size, size)
        Grey values (0..255), read-only and mapped from `folder`.

    Raises
    ------
    CxgiError
        If a kept file cannot be read, or the folder not be written.
    """
    shares = dict(sorted((families or {}).items()))
    words = json.dumps([DRAWING_VERSION, sorted(shares.items())])
    path = folder / f"objects-{size}-{count}-{seed}-{hashlib.sha256(words.encode()).hexdigest()[:8]}.npy"
    if not path.exists():
        note(f"draws {count} objects, {size} x {size} -> {path}")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            remove_leftovers(folder, "objects-*")
            _write(path, (count, size), shares, np.random.default_rng([seed, size]), note)
        except OSError as error:
            raise StorageError(f"objects {path} cannot be written ({error}): name another folder as cache") from error
    try:
        pool: Pool = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError) as error:
        raise ConfigError(f"objects {path} cannot be read ({error}): remove the file, and it is drawn anew") from error
    return pool


def _write(
    path: Path,
    shape: tuple[int, int],
    shares: Mapping[str, float],
    rng: np.random.Generator,
    note: Callable[[str], None],
) -> None:
    count, size = shape
    with whole_file(path) as part:
        pool: Any = np.lib.format.open_memmap(part, mode="w+", dtype=np.uint8, shape=(count, size, size))
        for number in range(count):
            pool[number] = np.round(random_object(rng, size, shares or None) * 255)
            if (number + 1) % _TELLING == 0:
                note(f"{number + 1} of {count} objects, {size} x {size}")
        pool.flush()


def own_images(folder: str | None) -> list[OwnImage]:
    """All images of a folder, grey, stretched to 0..1, large ones averaged down.

    Raises
    ------
    CxgiError
        If it holds none, or one cannot be read, is in colour or has nothing to see in it.
    """
    if folder is None:
        return []
    paths = _image_paths(folder)
    if not paths:
        raise ConfigError(f"objects.folder {folder} holds no image (.png, .npy, .tiff)")
    return [_own_image(path) for path in paths]


def digest_of_own_images(folder: str | None) -> str:
    """Digest of the names and lengths of the files, wherever the folder stands; "" without one."""
    if folder is None:
        return ""
    words = json.dumps([[path.name, path.stat().st_size] for path in _image_paths(folder)])
    return hashlib.sha256(words.encode()).hexdigest()


def _image_paths(folder: str) -> list[Path]:
    return sorted(path for path in Path(folder).glob("*") if is_image_path(path))


def _own_image(path: Path) -> OwnImage:
    image = read_image_file(path).image
    if not np.isfinite(image).all():
        raise ConfigError(f"{path} of objects.folder has values that are NaN or infinite: mend it or take it out")
    factor = max(1, min(image.shape) // MAX_SIDE)
    rows, columns = (length // factor for length in image.shape)
    blocks = image[: rows * factor, : columns * factor].reshape(rows, factor, columns, factor)
    stretched = spread(blocks.mean(axis=(1, 3)))
    if stretched is None or min(image.shape) < 2:
        raise ConfigError(f"{path} of objects.folder is flat: take it out")
    return stretched.astype(np.float32)


def random_crop(rng: np.random.Generator, image: OwnImage, side: int) -> OwnImage | None:
    """A square part at a random place and scale, stretched to 0..1; None where it is flat.

    It is reduced, never enlarged unless the whole image is smaller.

    Parameters
    ----------
    rng : numpy.random.Generator
    image : ndarray of float32, shape (rows, columns)
        Grey values.
    side : int
        Pixels per side of the part.

    Returns
    -------
    ndarray of float32, shape (side, side), or None
    """
    from skimage.transform import resize

    shortest = min(image.shape)
    for _ in range(_TRIALS):
        extent = round(np.exp(rng.uniform(np.log(min(side, shortest)), np.log(shortest))))
        top, left = (int(rng.integers(0, length - extent + 1)) for length in image.shape)
        part = image[top : top + extent, left : left + extent]
        found = spread(resize(part, (side, side), order=1, anti_aliasing=extent > side))
        if found is not None:
            return found.astype(np.float32)
    return None
