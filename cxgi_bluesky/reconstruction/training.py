"""Training of CH-MWCNN on random objects.

``python -m cxgi_bluesky.reconstruction.training OUT --steps N`` makes the objects, trains with
checkpoints (run it again to go on) and writes ``OUT/ch_mwcnn.safetensors`` with its model card.
One set of weights serves every size, order, fraction and noise level it was shown.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..patterns import sequency
from ..simulation.random_objects import FAMILIES, random_object
from .ch_mwcnn import save_weights
from .network import CHMWCNN, NetworkConfig, normalise, orthonormal_hadamard

POOL_SIZE = 64  # pixels per side of the stored objects; smaller images are block averages of them


@dataclass(frozen=True)
class TrainingConfig:
    """Everything that decides the outcome of a training; stored in the model card."""

    steps: int = 17000
    batch: int = 16
    learning_rate: float = 1.2e-3
    last_learning_rate: float = 1e-5
    warm_up: int = 200
    weight_decay: float = 1e-4
    average: float = 0.999
    objects: int = 24000
    validation_objects: int = 120
    sizes: tuple[int, ...] = (64, 32)
    size_weights: tuple[float, ...] = (0.75, 0.25)
    fraction: tuple[float, float] = (0.03, 1.0)
    usual_fraction: float = 0.1875
    snr_db: tuple[float, float] = (8.0, 45.0)
    seed: int = 20261122


# ---------------------------------------------------------------- data


def object_pool(count: int, seed: int, cache: Path) -> NDArray[np.uint8]:
    """`count` random objects as 8-bit grey values, shape (count, 64, 64), cached in a file."""
    if cache.exists():
        return np.load(cache, allow_pickle=False)
    rng = np.random.default_rng(seed)
    pool = np.empty((count, POOL_SIZE, POOL_SIZE), dtype=np.uint8)
    for image in pool:
        image[:] = np.round(random_object(rng, POOL_SIZE) * 255)
    np.save(cache, pool)
    return pool


def random_selection(generator: torch.Generator, batch: int, size: int, fraction: Tensor) -> Tensor:
    """Random but sensible choices of patterns, shape (batch, 1, size, size), 1 = measured.

    Each sample ranks the patterns by a mixture of the zig-zag and the cake-cutting key, with a
    random amount of jitter (variable density), so that the network meets no single order only.
    """
    s = torch.as_tensor(sequency(size), dtype=torch.float32)
    product = torch.log1p(s)[:, None] + torch.log1p(s)[None, :]
    total = torch.log1p(s[:, None] + s[None, :])
    mix = torch.rand(batch, 1, 1, generator=generator)
    mix = torch.where(torch.rand(batch, 1, 1, generator=generator) < 0.5, mix.round(), mix)
    key = mix * product / product.max() + (1 - mix) * total / total.max()
    jitter = torch.rand(batch, 1, 1, generator=generator) * 0.25
    jitter = jitter * (torch.rand(batch, 1, 1, generator=generator) < 0.4)
    uniform = torch.rand(batch, size, size, generator=generator).clamp(1e-9, 1 - 1e-9)
    key = key + jitter * -torch.log(-torch.log(uniform))
    key[:, 0, 0] = -math.inf
    rank = key.flatten(1).argsort(dim=1).argsort(dim=1)
    count = (fraction * size * size).round().clamp(min=8)[:, None]
    return (rank < count).float().reshape(batch, 1, size, size)


@dataclass
class Batch:
    """Simulated measurements with their truth."""

    truth: Tensor
    coefficients: Tensor
    measured: Tensor
    variance: Tensor


def measure(images: Tensor, config: TrainingConfig, generator: torch.Generator) -> Batch:
    """Simulated signed measurements of images (b, 1, n, n) at random fractions and noise levels."""
    batch, size = images.shape[0], images.shape[-1]
    low, high = (math.log(f) for f in config.fraction)
    fraction = torch.exp(low + (high - low) * torch.rand(batch, generator=generator))
    usual = torch.rand(batch, generator=generator) < 0.4
    fraction = torch.where(usual, torch.full_like(fraction, config.usual_fraction), fraction)
    measured = random_selection(generator, batch, size, fraction)
    exact = orthonormal_hadamard(images)
    signal = exact * measured
    signal[..., 0, 0] = 0
    rms = (signal.square().sum(dim=(1, 2, 3)) / measured.sum(dim=(1, 2, 3))).sqrt()
    snr_db = config.snr_db[0] + (config.snr_db[1] - config.snr_db[0]) * torch.rand(batch, generator=generator)
    sigma = (rms * 10 ** (-snr_db / 20))[:, None, None, None]
    noise = sigma * torch.randn(exact.shape, generator=generator)
    return Batch(images, (exact + noise) * measured, measured, (sigma**2).expand_as(exact))


def random_batch(pool: NDArray[np.uint8], config: TrainingConfig, generator: torch.Generator) -> Batch:
    """A batch of randomly turned, scaled and offset objects of one random size."""
    which = torch.randint(len(pool), (config.batch,), generator=generator).numpy()
    images = torch.from_numpy(pool[which]).float()[:, None] / 255
    size = config.sizes[int(torch.multinomial(torch.tensor(config.size_weights), 1, generator=generator))]
    if size < POOL_SIZE:
        images = torch.nn.functional.avg_pool2d(images, POOL_SIZE // size)
    turns, flip = torch.randint(4, (1,), generator=generator).item(), torch.rand(1, generator=generator).item() < 0.5
    images = torch.rot90(images, int(turns), dims=(2, 3))
    images = images.flip(3) if flip else images
    offset = torch.rand(config.batch, 1, 1, 1, generator=generator) * 0.6
    offset = offset * (torch.rand(config.batch, 1, 1, 1, generator=generator) < 0.3)
    return measure(offset + (1 - offset) * images, config, generator)


def predict(network: CHMWCNN, batch: Batch) -> Tensor:
    """Images in the unit of the truth, shape (b, 1, n, n)."""
    n = normalise(batch.coefficients, batch.measured, batch.variance)
    zero_level = (n.mean / n.deviation)[:, 0, 0, 0]
    image = network(n.coefficients, batch.measured, n.variance, zero_level)
    return image.float() * n.deviation + n.mean


def loss_of(prediction: Tensor, truth: Tensor) -> Tensor:
    """Mean over the batch of each image's rms error: between squared error and decibels."""
    return ((prediction - truth).square().mean(dim=(1, 2, 3)) + 1e-6).sqrt().mean()


# ---------------------------------------------------------------- loop


class Averaged:
    """Exponential moving average of the parameters."""

    def __init__(self, network: CHMWCNN, decay: float) -> None:
        self.decay = decay
        self.state = {name: value.detach().clone() for name, value in network.state_dict().items()}

    def update(self, network: CHMWCNN, step: int) -> None:
        """Move towards the network's parameters, faster in the first steps."""
        decay = min(self.decay, (1 + step) / (10 + step))
        for name, value in network.state_dict().items():
            self.state[name].lerp_(value.detach(), 1 - decay)


def learning_rate(step: int, config: TrainingConfig) -> float:
    """Linear warm-up, then cosine decay."""
    if step < config.warm_up:
        return config.learning_rate * (step + 1) / config.warm_up
    progress = (step - config.warm_up) / max(1, config.steps - config.warm_up)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return config.last_learning_rate + (config.learning_rate - config.last_learning_rate) * cosine


def validate(network: CHMWCNN, batches: list[Batch]) -> float:
    """Mean PSNR (dB, range 1) over the validation objects."""
    with torch.inference_mode():
        errors = [(predict(network, b).clamp(0, 1) - b.truth).square().mean(dim=(1, 2, 3)) for b in batches]
    return float((-10 * torch.log10(torch.cat(errors).clamp(min=1e-8))).mean())


def validation_batches(config: TrainingConfig) -> list[Batch]:
    """Fixed measurements of fixed objects that the training never draws: 18.75 %, 30 dB, 64 x 64."""
    rng = np.random.default_rng(config.seed + 1)
    names = list(FAMILIES)
    images = [random_object(rng, POOL_SIZE, [names[i % len(names)]]) for i in range(config.validation_objects)]
    fixed = TrainingConfig(fraction=(config.usual_fraction,) * 2, snr_db=(30.0, 30.0), seed=config.seed)
    generator = torch.Generator().manual_seed(config.seed)
    stack = torch.from_numpy(np.stack(images))[:, None]
    return [measure(part, fixed, generator) for part in stack.split(20)]


def train(
    out: Path,
    config: TrainingConfig,
    network_config: NetworkConfig,
    *,
    threads: int = 1,
    report: Callable[[str], None] = print,
) -> Path:
    """Train, or go on training, in folder `out`; returns the weights file.

    A checkpoint (tensors only) is written every 500 steps; a restart goes on from it.
    """
    torch.set_num_threads(threads)
    torch.manual_seed(config.seed)
    out.mkdir(parents=True, exist_ok=True)
    pool = object_pool(config.objects, config.seed, out / f"objects_{config.objects}_{config.seed}.npy")
    checks = validation_batches(config)
    network = CHMWCNN(network_config)
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=config.weight_decay, betas=(0.9, 0.99))
    averaged = Averaged(network, config.average)
    checkpoint, first = out / "checkpoint.pt", 0
    if checkpoint.exists():
        saved = torch.load(checkpoint, weights_only=True)
        network.load_state_dict(saved["network"])
        optimiser.load_state_dict(saved["optimiser"])
        averaged.state, first = saved["averaged"], saved["step"]
    started, running = time.monotonic(), 0.0
    for step in range(first, config.steps):
        generator = torch.Generator().manual_seed(config.seed * 1_000_003 + step)
        for group in optimiser.param_groups:
            group["lr"] = learning_rate(step, config)
        batch = random_batch(pool, config, generator)
        with torch.autocast("cpu", torch.bfloat16):
            loss = loss_of(predict(network, batch), batch.truth)
        optimiser.zero_grad(set_to_none=True)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimiser.step()
        averaged.update(network, step)
        running += (float(loss.detach()) - running) * max(0.01, 1 / (step - first + 1))
        if (step + 1) % 500 == 0 or step + 1 == config.steps:
            best = CHMWCNN(network_config)
            best.load_state_dict(averaged.state)
            psnr = validate(best, checks)
            seconds = time.monotonic() - started
            line = {
                "step": step + 1,
                "loss": round(running, 5),
                "validation_psnr_db": round(psnr, 3),
                "seconds": round(seconds),
            }
            report(json.dumps(line))
            with (out / "history.jsonl").open("a") as history:
                history.write(json.dumps(line) + "\n")
            torch.save(
                {
                    "network": network.state_dict(),
                    "optimiser": optimiser.state_dict(),
                    "averaged": averaged.state,
                    "step": step + 1,
                },
                checkpoint.with_suffix(".new"),
            )
            checkpoint.with_suffix(".new").replace(checkpoint)
            save_weights(
                out / "ch_mwcnn.safetensors",
                best,
                {
                    "training": asdict(config),
                    "step": step + 1,
                    "validation_psnr_db": psnr,
                    "sizes": sorted(config.sizes),
                },
            )
    return out / "ch_mwcnn.safetensors"


def main() -> None:
    """Command line of the training."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("out", type=Path, help="folder for checkpoints and weights")
    parser.add_argument("--steps", type=int, default=TrainingConfig.steps)
    parser.add_argument("--objects", type=int, default=TrainingConfig.objects)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    config = TrainingConfig(steps=arguments.steps, objects=arguments.objects)
    train(arguments.out, config, NetworkConfig(), threads=arguments.threads)


if __name__ == "__main__":
    main()
