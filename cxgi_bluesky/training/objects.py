"""Pools of random objects: drawn once, kept in a file, read by every process that trains; and the user's own images."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import CxgiError
from ..image_file import is_image_path, read_image_file
from ..simulation.random_objects import DRAWING_VERSION, random_object

Pool = NDArray[np.uint8]


def object_pool(count: int, size: int, seed: int, folder: Path, families: Mapping[str, float] | None = None) -> Pool:
    """Random objects as 8-bit grey values, shape (count, size, size), read-only and mapped from `folder`."""
    shares = dict(families or {})
    words = json.dumps([DRAWING_VERSION, sorted(shares.items())])
    path = folder / f"objects-{size}-{count}-{seed}-{hashlib.sha256(words.encode()).hexdigest()[:8]}.npy"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        _write(path, (count, size), shares, np.random.default_rng([seed, size]))
    pool: Pool = np.load(path, mmap_mode="r", allow_pickle=False)
    return pool


def _write(path: Path, shape: tuple[int, int], shares: Mapping[str, float], rng: np.random.Generator) -> None:
    new = path.with_suffix(f".{os.getpid()}.new")
    count, size = shape
    pool: Any = np.lib.format.open_memmap(new, mode="w+", dtype=np.uint8, shape=(count, size, size))
    for number in range(count):
        pool[number] = np.round(random_object(rng, size, shares or None) * 255)
    pool.flush()
    new.replace(path)


def own_images(folder: str | None) -> list[NDArray[np.float32]]:
    """All images of a folder, grey, stretched to 0..1.

    Raises
    ------
    CxgiError
        If it holds none, or one cannot be read or is flat.
    """
    if folder is None:
        return []
    paths = sorted(path for path in Path(folder).glob("*") if is_image_path(path))
    if not paths:
        raise CxgiError(f"objects.folder {folder} holds no image (.png, .npy, .tiff)")
    images = []
    for path in paths:
        image = read_image_file(path).image.astype(np.float32)
        low, high = float(image.min()), float(image.max())
        if not high > low:
            raise CxgiError(f"{path} of objects.folder is flat: take it out")
        images.append((image - low) / (high - low))
    return images
