"""What a training draws from: pools of random objects, the user's own images, boards; and the batch of each step.

Pools are drawn once, stored in a file and read by every process. Everything random in a batch follows from the seed
and the step.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from platformdirs import user_cache_path
from torch import Tensor

from .._files.atomic_write import remove_leftovers, whole_file
from .._files.image_file import is_image_path, read_image_file
from ..errors import ConfigError, StorageError
from ..simulation.random_objects import DRAWING_VERSION, random_object, spread
from .boards import DrawnBoard, board_pool
from .config import TrainingConfig
from .measurements import Batch, Masks, simulate

# ---------------------------------------------------------------- objects


Pool = NDArray[np.uint8]
OwnImage = NDArray[np.float32]

MAX_SIDE = 1024  # of the user's own images, whose shorter side is averaged down to at most about this
_REPORT_EVERY = 4000  # objects: about a minute
_TRIALS = 4  # positions to look for something to see in an image


def object_pool(
    count: int,
    size: int,
    seed: int,
    folder: Path,
    families: Mapping[str, float] | None = None,
    report: Callable[[str], None] = lambda text: None,
) -> Pool:
    """Draw random objects once, then read them from a file.

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
        Takes a line of text about the progress (default: none).

    Returns
    -------
    ndarray of uint8, shape (count, size, size)
        Grey values (0..255), read-only and mapped from `folder`.

    Raises
    ------
    CxgiError
        If a stored file cannot be read, or the folder not be written.
    """
    shares = dict(sorted((families or {}).items()))
    content = json.dumps([DRAWING_VERSION, sorted(shares.items())])
    path = folder / f"objects-{size}-{count}-{seed}-{hashlib.sha256(content.encode()).hexdigest()[:8]}.npy"
    if not path.exists():
        report(f"draws {count} objects, {size} x {size} -> {path}")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            remove_leftovers(folder, "objects-*")
            _write(path, (count, size), shares, np.random.default_rng([seed, size]), report)
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
    report: Callable[[str], None],
) -> None:
    count, size = shape
    with whole_file(path) as part:
        pool: Any = np.lib.format.open_memmap(part, mode="w+", dtype=np.uint8, shape=(count, size, size))
        for number in range(count):
            pool[number] = np.round(random_object(rng, size, shares or None) * 255)
            if (number + 1) % _REPORT_EVERY == 0:
                report(f"{number + 1} of {count} objects, {size} x {size}")
        pool.flush()


def read_own_images(folder: str | None) -> list[OwnImage]:
    """Read all images of a folder, grey, stretched to 0..1, large ones averaged down.

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
    """Digest of the names and lengths of the files, wherever the folder is; "" without one."""
    if folder is None:
        return ""
    content = json.dumps([[path.name, path.stat().st_size] for path in _image_paths(folder)])
    return hashlib.sha256(content.encode()).hexdigest()


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
    """Cut a square part at a random position and scale, stretched to 0..1; None where it is flat.

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


# ---------------------------------------------------------------- batches


_TWO_VALUED = 0.75  # share of pixels that are nearly 0 or 1
IMAGE_PIXELS = 64 * 64  # `batch` counts images of this many


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Objects and boards to draw from."""

    config: TrainingConfig
    pools: dict[int, Pool]
    boards: dict[int, list[DrawnBoard]]
    own: list[OwnImage]

    @classmethod
    def from_config(cls, config: TrainingConfig, report: Callable[[str], None] = lambda text: None) -> TrainingData:
        """Draw what a configuration asks for, or read it from the cache.

        Parameters
        ----------
        config : TrainingConfig
        note : callable, optional
            Takes a line of text about the progress (default: none).

        Raises
        ------
        CxgiError
            If the user's images or the cache cannot be used.
        """
        folder, c, b = cache_folder(config), config.objects, config.boards
        own = read_own_images(c.folder)
        pools = {size: object_pool(n, size, config.seed, folder, c.families, report) for size, n in c.count.items()}
        boards = {
            size: board_pool(count, size, b.patterns[size], b.ranges, b.seed, folder, report)
            for size, count in b.count.items()
            if count and size in config.sizes and b.share > 0
        }
        return cls(config, pools, boards, own)

    def describe(self) -> str:
        """Describe what there is to draw from."""
        sizes = ", ".join(f"{len(pool)} of {size} x {size}" for size, pool in sorted(self.pools.items()))
        boards = ", ".join(f"{len(boards)} of {size} x {size}" for size, boards in sorted(self.boards.items()))
        own = f"; {len(self.own)} images of your own" if self.own else ""
        return f"objects: {sizes}{own}; boards: {boards or 'none'}; kept in {cache_folder(self.config)}"

    def batch(self, step: int) -> Batch:
        """Simulate the batch of a step."""
        c = self.config
        generator = torch.Generator().manual_seed(c.seed * 1_000_003 + step)
        sizes, shares = zip(*sorted(c.sizes.items()), strict=True)
        size = sizes[int(torch.multinomial(torch.tensor(shares), 1, generator=generator))]
        images = self._images(size, max(1, min(2 * c.batch, c.batch * IMAGE_PIXELS // size**2)), generator)
        masks, board = self._masks(size, generator)
        return simulate(images, masks, generator, sampling=c.sampling, noise=c.noise, board=board)

    def _masks(self, size: int, generator: torch.Generator) -> tuple[Masks, DrawnBoard | None]:
        boards, luck = self.boards.get(size), float(torch.rand(1, generator=generator))
        if not boards:
            return "perfect", None
        number = int(torch.randint(len(boards), (1,), generator=generator))
        b = self.config.boards
        kinds: tuple[tuple[Masks, float], ...] = (("none", b.none), ("reference", b.reference))
        for kind, share in kinds:
            if luck < share:
                return kind, boards[number]
            luck -= share
        return "perfect", None

    def _images(self, size: int, count: int, generator: torch.Generator) -> Tensor:
        """Objects turned, offset and with their greys bent at random, (count, 1, size, size)."""
        drawn = min(s for s in self.pools if s >= size)
        pool = self.pools[drawn]
        which = torch.randint(len(pool), (count,), generator=generator).numpy()
        images = torch.from_numpy(pool[which]).float()[:, None] / 255
        if drawn > size:
            images = torch.nn.functional.avg_pool2d(images, drawn // size)
        if self.own:
            self._exchange(images, generator)
        turns = int(torch.randint(4, (1,), generator=generator))
        images = torch.rot90(images, turns, dims=(2, 3))
        images = images.flip(3) if torch.rand(1, generator=generator) < 0.5 else images
        bend = torch.exp(0.4 * torch.randn(count, 1, 1, 1, generator=generator))
        bend = torch.where(torch.rand(count, 1, 1, 1, generator=generator) < 0.3, bend, 1.0)
        images = _cut_to_two_values(images**bend, generator)
        offset = torch.rand(count, 1, 1, 1, generator=generator) * 0.6
        offset = offset * (torch.rand(count, 1, 1, 1, generator=generator) < 0.25)
        return offset + (1 - offset) * images

    def _exchange(self, images: Tensor, generator: torch.Generator) -> None:
        """Replace some objects by parts of the user's own images."""
        rng = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
        for index in np.flatnonzero(rng.random(len(images)) < self.config.objects.folder_share):
            part = random_crop(rng, self.own[rng.integers(len(self.own))], images.shape[-1])
            if part is not None:
                images[index, 0] = torch.from_numpy(part)


def _cut_to_two_values(images: Tensor, generator: torch.Generator) -> Tensor:
    """Half of the objects of two values lose the grey of their edges, as if they had been drawn on the pixels."""
    two_valued = ((images < 0.1) | (images > 0.9)).float().mean(dim=(1, 2, 3)) > _TWO_VALUED
    cut = (images > 0.5).float()
    chosen = two_valued & (torch.rand(len(images), generator=generator) < 0.5) & (cut.std(dim=(1, 2, 3)) > 0)
    return torch.where(chosen[:, None, None, None], cut, images)


def cache_folder(config: TrainingConfig) -> Path:
    """Return the folder of drawn objects and boards."""
    return Path(config.cache) if config.cache is not None else user_cache_path("cxgi_bluesky") / "training"
