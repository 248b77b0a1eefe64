"""What a training draws from: pools of random objects, the user's own images, boards; and the batch of each step.

Pools are drawn once, stored in a file and read by every process. Everything random in a batch follows from the seed
and the step.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from platformdirs import user_cache_path
from torch import Tensor

from .._files.atomic_write import explain_write_error, remove_leftovers, whole_file
from .._files.image_file import is_image_path, read_image_file
from ..errors import ConfigError
from ..reconstruction.ch_mwcnn.inputs import join
from ..reconstruction.ch_mwcnn.layers import CPU
from ..simulation.random_objects import DRAWING_VERSION, random_object, spread
from .boards import DrawnBoard, board_pool, in_processes
from .config import ObjectConfig, TrainingConfig
from .measurements import Batch, Masks, simulate

# ---------------------------------------------------------------- objects


OwnImage = NDArray[np.float32]

MAX_SIDE = 1024  # of the user's own images, whose shorter side is averaged down to at most about this
_PART = 500  # objects that a process draws at a time
_REPORT_EVERY = 4000  # objects
_PIXELS_PER_S = 3e5  # of objects, drawn in one process
_TRIALS = 4  # positions to look for something to see in an image


def object_pool(
    count: int,
    size: int,
    seed: int,
    folder: Path,
    objects: ObjectConfig,
    report: Callable[[str], None] = lambda text: None,
) -> Tensor:
    """Draw random objects once, on all cores, then read them from a file.

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
    objects : ObjectConfig
        Families and the user's own images, with their shares.
    report : callable, optional
        Takes a line of text about the progress (default: none).

    Returns
    -------
    Tensor of uint8, shape (count, size, size)
        Grey values (0..255), mapped from `folder`.

    Raises
    ------
    CxgiError
        If a stored file cannot be read, or the folder not be written.
    """
    content = json.dumps([DRAWING_VERSION, list(objects.shares.items()), *_own_part(objects)])
    path = folder / f"objects-{size}-{count}-{seed}-{hashlib.sha256(content.encode()).hexdigest()[:8]}.npy"
    if not path.exists():
        report(f"draws {count} objects, {size} x {size} -> {path}")
        with explain_write_error(f"objects {path}", "name another folder as cache"):
            folder.mkdir(parents=True, exist_ok=True)
            remove_leftovers(folder, "objects-*")
            _write(path, count, size, seed, objects, report)
    try:
        return torch.from_numpy(np.load(path, mmap_mode="c", allow_pickle=False))
    except (OSError, ValueError) as error:
        raise ConfigError(f"objects {path} cannot be read ({error}): remove the file, and it is drawn anew") from error


def _own_part(objects: ObjectConfig) -> tuple[str, float]:
    return digest_of_own_images(objects.folder), objects.folder_share if objects.folder else 0.0


def _write(path: Path, count: int, size: int, seed: int, objects: ObjectConfig, report: Callable[[str], None]) -> None:
    parts = range(0, count, _PART)
    draw = partial(_draw_part, size=size, count=count, seed=seed, objects=objects)
    drawn = in_processes(draw, parts, seconds=count * size**2 / _PIXELS_PER_S)
    with whole_file(path) as part:
        pool: Any = np.lib.format.open_memmap(part, mode="w+", dtype=np.uint8, shape=(count, size, size))
        for first, images in zip(parts, drawn, strict=True):
            pool[first : first + len(images)] = images
            if (first + len(images)) % _REPORT_EVERY == 0:
                report(f"{first + len(images)} of {count} objects, {size} x {size}")
        pool.flush()


def _draw_part(first: int, *, size: int, count: int, seed: int, objects: ObjectConfig) -> NDArray[np.uint8]:
    """Objects `first` to `first` + `_PART`, which follow from the seed whatever process draws them."""
    rng = np.random.default_rng([seed, size, first])
    own = _own_images(objects.folder, digest_of_own_images(objects.folder))
    images = np.empty((min(_PART, count - first), size, size), np.uint8)
    for image in images:
        drawn = None
        if own and rng.random() < objects.folder_share:
            drawn = random_crop(rng, own[rng.integers(len(own))], size)
        image[:] = np.round((random_object(rng, size, objects.shares) if drawn is None else drawn) * 255)
    return images


@lru_cache(maxsize=1)
def _own_images(folder: str | None, digest: str) -> list[OwnImage]:
    """Read once, as long as they are the same."""
    return read_own_images(folder)


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
    shortest = min(image.shape)
    for _ in range(_TRIALS):
        extent = round(np.exp(rng.uniform(np.log(min(side, shortest)), np.log(shortest))))
        top, left = (int(rng.integers(0, length - extent + 1)) for length in image.shape)
        part = Image.fromarray(image[top : top + extent, left : left + extent])
        found = spread(np.asarray(part.resize((side, side), Image.Resampling.BILINEAR)))  # averages what it reduces
        if found is not None:
            return found.astype(np.float32)
    return None


# ---------------------------------------------------------------- batches


_TWO_VALUED = 0.75  # share of pixels that are nearly 0 or 1
_PARTS, _MIN_PART = 2, 16  # of a batch, each with one kind of masks and one board; images of a part
IMAGE_PIXELS = 64 * 64  # `batch` counts images of this many


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Objects and boards to draw from, all on one device."""

    config: TrainingConfig
    pools: dict[int, Tensor]
    boards: dict[int, list[DrawnBoard]]
    device: torch.device = CPU

    @classmethod
    def from_config(
        cls, config: TrainingConfig, report: Callable[[str], None] = lambda text: None, device: torch.device = CPU
    ) -> TrainingData:
        """Draw what a configuration asks for, or read it from the cache.

        Parameters
        ----------
        config : TrainingConfig
        report : callable, optional
            Takes a line of text about the progress (default: none).
        device : torch.device, optional
            On which the batches are simulated (default: the processor).

        Raises
        ------
        CxgiError
            If the user's images or the cache cannot be used.
        """
        folder, c, b = cache_folder(config), config.objects, config.boards
        read_own_images(c.folder)  # what is wrong with them is said before anything is drawn
        pools = {size: object_pool(n, size, config.seed, folder, c, report).to(device) for size, n in c.count.items()}
        boards = {
            size: [
                one.to(device) for one in board_pool(count, size, b.patterns[size], b.ranges, b.seed, folder, report)
            ]
            for size, count in b.count.items()
            if count and size in config.sizes and b.share > 0
        }
        return cls(config, pools, boards, device)

    def describe(self) -> str:
        """Describe what there is to draw from."""
        sizes = ", ".join(f"{len(pool)} of {size} x {size}" for size, pool in sorted(self.pools.items()))
        boards = ", ".join(f"{len(boards)} of {size} x {size}" for size, boards in sorted(self.boards.items()))
        return f"objects: {sizes}; boards: {boards or 'none'}; kept in {cache_folder(self.config)}; on {self.device}"

    def batch(self, step: int) -> Batch:
        """Simulate the batch of a step.

        Its size, kinds of masks and boards follow from seed and step; all other numbers from the device's generator
        too, so that another device sees other noise of the same kind.
        """
        c = self.config
        rng = np.random.default_rng([c.seed, step])
        generator = torch.Generator(self.device).manual_seed(c.seed * 1_000_003 + step)
        sizes, shares = zip(*sorted(c.sizes.items()), strict=True)
        size = int(rng.choice(sizes, p=np.array(shares) / sum(shares)))
        count = max(1, min(2 * c.batch, c.batch * IMAGE_PIXELS // size**2))
        parts = self._images(size, count, generator).chunk(max(1, min(_PARTS, count // _MIN_PART)))
        made = [self._simulate(images, rng, generator) for images in parts]
        return Batch(torch.cat([one.truth for one in made]), join([one.given for one in made]))

    def _simulate(self, images: Tensor, rng: np.random.Generator, generator: torch.Generator) -> Batch:
        masks, board = self._masks(images.shape[-1], rng)
        return simulate(images, masks, generator, sampling=self.config.sampling, noise=self.config.noise, board=board)

    def _masks(self, size: int, rng: np.random.Generator) -> tuple[Masks, DrawnBoard | None]:
        boards, luck = self.boards.get(size), rng.random()
        if not boards:
            return "perfect", None
        board, b = boards[rng.integers(len(boards))], self.config.boards
        if luck < b.none:
            return "none", board
        return ("reference", board) if luck < b.share else ("perfect", None)

    def _images(self, size: int, count: int, generator: torch.Generator) -> Tensor:
        """Objects turned, offset and with their greys bent at random, (count, 1, size, size)."""
        drawn = min(s for s in self.pools if s >= size)
        pool = self.pools[drawn]
        images = (
            pool[torch.randint(len(pool), (count,), generator=generator, device=self.device)].float()[:, None] / 255
        )
        if drawn > size:
            images = torch.nn.functional.avg_pool2d(images, drawn // size)
        luck = torch.rand((6, count, 1, 1, 1), generator=generator, device=self.device)
        for step, dims in enumerate([(2,), (3,), None]):  # all turns and mirror images of a square
            other = images.flip(dims) if dims else images.transpose(2, 3)
            images = torch.where(luck[step] < 0.5, other, images)
        bend = torch.exp(0.4 * torch.randn((count, 1, 1, 1), generator=generator, device=self.device))
        images = _cut_to_two_values(images ** torch.where(luck[3] < 0.3, bend, 1.0), generator)
        offset = luck[4] * 0.6 * (luck[5] < 0.25)
        return offset + (1 - offset) * images


def _cut_to_two_values(images: Tensor, generator: torch.Generator) -> Tensor:
    """Half of the objects of two values lose the grey of their edges, as if they had been drawn on the pixels."""
    two_valued = ((images < 0.1) | (images > 0.9)).float().mean(dim=(1, 2, 3)) > _TWO_VALUED
    cut = (images > 0.5).float()
    luck = torch.rand(len(images), generator=generator, device=images.device)
    chosen = two_valued & (luck < 0.5) & (cut.std(dim=(1, 2, 3)) > 0)
    return torch.where(chosen[:, None, None, None], cut, images)


def cache_folder(config: TrainingConfig) -> Path:
    """Return the folder of drawn objects and boards."""
    return Path(config.cache) if config.cache is not None else user_cache_path("cxgi_bluesky") / "training"
