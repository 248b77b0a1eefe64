"""What a network is judged by while it trains: fixed measurements of objects and boards that training never draws."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from ..reconstruction.ch_mwcnn.initial_image import trial_pictures
from ..reconstruction.ch_mwcnn.network import CHMWCNN
from ..reconstruction.ch_mwcnn.sigma_calibration import SigmaLaw, log_sigma_to_scale
from ..simulation.random_objects import random_object
from .boards import DrawnBoard, board_pool
from .config import NoiseConfig, SamplingConfig, TrainingConfig
from .data import IMAGE_PIXELS, cache_folder
from .losses import errors_in_log
from .measuring import Batch, Masks, simulate

_BOARDS = 2
_APART = 100  # the boards of the checks are those of other seeds
_BATCH_PIXELS = 16 * IMAGE_PIXELS
_SNR_DB = 30.0
_USUAL, _FEW = 0.1875, 0.0625  # sampling fractions
_ETCHED: dict[Masks, str] = {
    "none": "etched, nothing known",
    "reference": "etched, reference scan",
}

Checks = dict[str, list[Batch]]


@dataclass(frozen=True)
class Judgement:
    """How a network does in one check.

    Attributes
    ----------
    psnr_db : float
        Mean over the images, range 1, pictures cut to 0..1.
    covered : float
        Share of pixels whose error lies within one sigma; NaN where sigma was not asked for.
    images_covered : float
        Share of images for which that is 60 to 75 %; NaN likewise.
    """

    psnr_db: float
    covered: float
    images_covered: float


def checks_of(config: TrainingConfig, note: Callable[[str], None] = lambda text: None) -> Checks:
    """By name: each size at 18.75 % and the main one at 6.25 %, 30 dB; and the main one behind boards it has not met.

    The main size is 64, or else the one that training meets most often.
    """
    main = 64 if 64 in config.sizes else max(config.sizes, key=lambda size: config.sizes[size])
    made = {f"{size}, 18.75 %": _check(config, size, "perfect", _USUAL) for size in sorted(config.sizes)}
    made[f"{main}, 6.25 %"] = _check(config, main, "perfect", _FEW)
    b = config.boards
    wanted = [masks for masks in _ETCHED if getattr(b, masks) > 0 and b.count.get(main)]
    if wanted:
        boards = board_pool(_BOARDS, main, b.patterns[main], b.ranges, b.seed - _APART, cache_folder(config), note)
        made |= {_ETCHED[masks]: _check(config, main, masks, _USUAL, boards) for masks in wanted}
    return made


def _check(
    config: TrainingConfig, size: int, masks: Masks, fraction: float, boards: list[DrawnBoard] | None = None
) -> list[Batch]:
    sampling = SamplingConfig((fraction, fraction), fraction, usual_share=1.0, whole_share=0.0, short_share=0.0)
    noise = NoiseConfig((_SNR_DB, _SNR_DB), config.noise.drift, sigma_error=0.0)
    generator = torch.Generator().manual_seed(config.seed + size)
    parts = _objects(config, size).split(max(1, _BATCH_PIXELS // size**2))
    return [
        simulate(
            part, masks, generator, sampling=sampling, noise=noise, board=boards[i % len(boards)] if boards else None
        )
        for i, part in enumerate(parts)
    ]


def _objects(config: TrainingConfig, size: int) -> Tensor:
    count = max(1, config.validation_objects * IMAGE_PIXELS // max(IMAGE_PIXELS, size**2))
    rng, shares = np.random.default_rng([config.seed, 1, size]), dict(sorted(config.objects.families.items()))
    return torch.from_numpy(np.stack([random_object(rng, size, shares or None) for _ in range(count)]))[:, None]


def judged(network: CHMWCNN, batches: list[Batch], *, with_sigma: bool, law: SigmaLaw | None = None) -> Judgement:
    """Run a network on the images of a check, its sigma scaled by the law if there is one."""
    errors, inside = [], []
    with torch.inference_mode():
        for batch in batches:
            g = batch.given
            trial = trial_pictures(g)
            image, log_sigma = network(g, trial, with_sigma=with_sigma)
            errors.append(((image * g.deviation + g.mean).clamp(0, 1) - batch.truth).square().mean(dim=(1, 2, 3)))
            if log_sigma is not None:
                log_sigma = log_sigma_to_scale(law, network, g, trial, image, log_sigma)
                within = errors_in_log(image, batch) < log_sigma
                inside.append(within.float().mean(dim=(1, 2, 3)))
    psnr = float((-10 * torch.log10(torch.cat(errors).clamp(min=1e-8))).mean())
    if not inside:
        return Judgement(psnr, float("nan"), float("nan"))
    share = torch.cat(inside)
    return Judgement(psnr, float(share.mean()), float(((share >= 0.6) & (share <= 0.75)).float().mean()))
