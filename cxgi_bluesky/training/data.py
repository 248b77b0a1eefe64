"""Batches for training: everything random in them follows from the seed and the step."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from platformdirs import user_cache_path
from torch import Tensor

from .boards import DrawnBoard, board_pool
from .config import TrainingConfig
from .measurements import Batch, Masks, simulate
from .objects import OwnImage, Pool, object_pool, own_images, random_crop

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
    def of(cls, config: TrainingConfig, note: Callable[[str], None] = lambda text: None) -> TrainingData:
        """Draw, or read from the cache, what a configuration asks for.

        Parameters
        ----------
        config : TrainingConfig
        note : callable, optional
            Takes a line of text about the progress (default: nothing is said).

        Raises
        ------
        CxgiError
            If the user's images or the cache cannot be used.
        """
        folder, c, b = cache_folder(config), config.objects, config.boards
        own = own_images(c.folder)
        pools = {size: object_pool(n, size, config.seed, folder, c.families, note) for size, n in c.count.items()}
        boards = {
            size: board_pool(count, size, b.patterns[size], b.ranges, b.seed, folder, note)
            for size, count in b.count.items()
            if count and size in config.sizes and b.share > 0
        }
        return cls(config, pools, boards, own)

    def in_words(self) -> str:
        """What there is to draw from."""
        sizes = ", ".join(f"{len(pool)} of {size} x {size}" for size, pool in sorted(self.pools.items()))
        boards = ", ".join(f"{len(boards)} of {size} x {size}" for size, boards in sorted(self.boards.items()))
        own = f"; {len(self.own)} images of your own" if self.own else ""
        return f"objects: {sizes}{own}; boards: {boards or 'none'}; kept in {cache_folder(self.config)}"

    def batch(self, step: int) -> Batch:
        """The batch of a step."""
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
        """Put parts of the user's own images in the place of some objects."""
        rng = np.random.default_rng(int(torch.randint(2**62, (1,), generator=generator)))
        for place in np.flatnonzero(rng.random(len(images)) < self.config.objects.folder_share):
            part = random_crop(rng, self.own[rng.integers(len(self.own))], images.shape[-1])
            if part is not None:
                images[place, 0] = torch.from_numpy(part)


def _cut_to_two_values(images: Tensor, generator: torch.Generator) -> Tensor:
    """Half of the objects of two values lose the grey of their edges, as if they had been drawn on the pixels."""
    two_valued = ((images < 0.1) | (images > 0.9)).float().mean(dim=(1, 2, 3)) > _TWO_VALUED
    cut = (images > 0.5).float()
    chosen = two_valued & (torch.rand(len(images), generator=generator) < 0.5) & (cut.std(dim=(1, 2, 3)) > 0)
    return torch.where(chosen[:, None, None, None], cut, images)


def cache_folder(config: TrainingConfig) -> Path:
    """Where drawn objects and boards are kept."""
    return Path(config.cache) if config.cache is not None else user_cache_path("cxgi_bluesky") / "training"
