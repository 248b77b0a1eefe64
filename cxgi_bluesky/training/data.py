"""Batches for training and checking: everything random in them follows from the seed and the step."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from platformdirs import user_cache_path
from torch import Tensor

from ..simulation.random_objects import random_object
from .boards import DrawnBoard, board_pool
from .config import NoiseConfig, SamplingConfig, TrainingConfig
from .measuring import Batch, Masks, simulate
from .objects import Pool, object_pool, own_images

_IMAGE_PIXELS = 64 * 64  # `batch` counts images of this many
_CHECK_BOARDS = 2
_APART = 100  # the boards of the checks are those of other seeds
_CHECK_BATCH = 20
_CHECKS: dict[str, tuple[int, Masks, float, float]] = {  # size, masks, fraction, SNR in dB
    "64, 18.75 %": (64, "perfect", 0.1875, 30.0),
    "64, 6.25 %": (64, "perfect", 0.0625, 30.0),
    "32, 18.75 %": (32, "perfect", 0.1875, 30.0),
    "128, 18.75 %": (128, "perfect", 0.1875, 30.0),
    "etched, nothing known": (64, "none", 0.1875, 30.0),
    "etched, reference scan": (64, "reference", 0.1875, 30.0),
    "etched, tile maps": (64, "maps", 0.1875, 30.0),
}


@dataclass(frozen=True, eq=False)
class TrainingData:
    """Objects and boards to draw from."""

    config: TrainingConfig
    pools: dict[int, Pool]
    boards: dict[int, list[DrawnBoard]]
    own: list[np.ndarray[Any, Any]]

    @classmethod
    def of(cls, config: TrainingConfig) -> TrainingData:
        """Draw, or read from the cache, what a configuration asks for."""
        folder = cache_folder(config)
        c = config.objects
        pools = {size: object_pool(count, size, config.seed, folder, c.families) for size, count in c.count.items()}
        b = config.boards
        boards = {
            size: board_pool(count, size, b.patterns[size], b.ranges, b.seed, folder)
            for size, count in b.count.items()
            if count and size in config.sizes
        }
        return cls(config, pools, boards, own_images(config.objects.folder))

    def batch(self, step: int) -> Batch:
        """The batch of a step."""
        c = self.config
        generator = torch.Generator().manual_seed(c.seed * 1_000_003 + step)
        sizes, shares = zip(*c.sizes.items(), strict=True)
        size = sizes[int(torch.multinomial(torch.tensor(shares), 1, generator=generator))]
        images = self._images(size, max(1, min(2 * c.batch, c.batch * _IMAGE_PIXELS // size**2)), generator)
        masks, board = self._masks(size, generator)
        return simulate(images, masks, generator, sampling=c.sampling, noise=c.noise, board=board)

    def _masks(self, size: int, generator: torch.Generator) -> tuple[Masks, DrawnBoard | None]:
        boards, luck = self.boards.get(size), float(torch.rand(1, generator=generator))
        if not boards:
            return "perfect", None
        number = int(torch.randint(len(boards), (1,), generator=generator))
        kinds: tuple[tuple[Masks, float], ...]
        kinds = (
            ("none", self.config.boards.none),
            ("reference", self.config.boards.reference),
            ("maps", self.config.boards.maps),
        )
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
        if self.own:
            self._exchange(images, generator)
        if drawn > size:
            images = torch.nn.functional.avg_pool2d(images, drawn // size)
        turns = int(torch.randint(4, (1,), generator=generator))
        images = torch.rot90(images, turns, dims=(2, 3))
        images = images.flip(3) if torch.rand(1, generator=generator) < 0.5 else images
        bend = torch.exp(0.4 * torch.randn(count, 1, 1, 1, generator=generator))
        bend = torch.where(torch.rand(count, 1, 1, 1, generator=generator) < 0.3, bend, 1.0)
        offset = torch.rand(count, 1, 1, 1, generator=generator) * 0.6
        offset = offset * (torch.rand(count, 1, 1, 1, generator=generator) < 0.25)
        return offset + (1 - offset) * images**bend

    def _exchange(self, images: Tensor, generator: torch.Generator) -> None:
        """Put crops of the user's own images in the place of some objects."""
        from skimage.transform import resize

        side = images.shape[-1]
        for place in range(len(images)):
            luck = torch.rand(4, generator=generator).tolist()
            if luck[0] >= self.config.objects.folder_share:
                continue
            image = self.own[int(luck[1] * len(self.own))]
            extent = max(2, int(min(image.shape) * (0.4 + 0.6 * luck[2])))
            top, left = (int(luck[3] * (length - extent)) for length in image.shape)
            crop = resize(image[top : top + extent, left : left + extent], (side, side), order=1, anti_aliasing=True)
            images[place, 0] = torch.from_numpy(np.asarray(crop, dtype=np.float32))


def cache_folder(config: TrainingConfig) -> Path:
    """Where drawn objects and boards are kept."""
    return Path(config.cache) if config.cache is not None else user_cache_path("cxgi_bluesky") / "training"


def checks(config: TrainingConfig) -> dict[str, list[Batch]]:
    """Fixed measurements of fixed objects and boards that the training never draws, by name."""
    made = {}
    for name, (size, masks, fraction, snr_db) in _CHECKS.items():
        if size not in config.sizes or (masks != "perfect" and not config.boards.count.get(size)):
            continue
        boards: list[DrawnBoard] = []
        if masks != "perfect":
            b = config.boards
            boards = board_pool(_CHECK_BOARDS, size, b.patterns[size], b.ranges, b.seed - _APART, cache_folder(config))
        made[name] = _check(config, size, masks, SamplingConfig((fraction,) * 2, fraction, 1.0, 0.0), snr_db, boards)
    return made


def _check(
    config: TrainingConfig, size: int, masks: Masks, sampling: SamplingConfig, snr_db: float, boards: list[DrawnBoard]
) -> list[Batch]:
    count = max(1, config.validation_objects * _IMAGE_PIXELS // max(_IMAGE_PIXELS, size**2))
    rng = np.random.default_rng([config.seed, 1, size])
    shares = config.objects.families or None
    images = torch.from_numpy(np.stack([random_object(rng, size, shares) for _ in range(count)]))[:, None]
    generator = torch.Generator().manual_seed(config.seed + size)
    noise = replace(NoiseConfig(), snr_db=(snr_db, snr_db), drift=config.noise.drift, sigma_error=0.0)
    parts = images.split(_CHECK_BATCH)
    return [
        simulate(
            part, masks, generator, sampling=sampling, noise=noise, board=boards[i % len(boards)] if boards else None
        )
        for i, part in enumerate(parts)
    ]
