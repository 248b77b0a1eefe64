"""What the network is compared on: the anchor workload, drawn and unseen objects, other sizes."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from benchmarks.suite import workload
from benchmarks.suite.comparison import Case
from cxgi_bluesky.simulation.objects.registry import render_object
from cxgi_bluesky.simulation.objects.rendering import block_mean
from cxgi_bluesky.simulation.random_objects import FAMILIES, random_object

Image = NDArray[np.float64]

ORDERS = ("zig-zag", "cake-cutting", "learned-density", "variable-density")
FRACTIONS = (workload.FRACTION, 0.03, 0.0625, 0.5)  # the usual one first: where time is short it comes first
SNR_DB, NOISY_DB = 30.0, 20.0
SIZES = (32, 128, 256)
OBJECTS_PER_SEED = 4
# Objects of the figures, at sizes that fill the field as theirs do: no training draws them or anything like them.
UNSEEN = ("gear:diameter_px=40", "gear-aperture:diameter_px=40", "bars", "gold", "CAS")
_SUBPIXELS = 4
_OBJECT_SEED = 977_000  # the first word of the seeds of drawn objects; a training's is its own seed


def anchor_cases(orders: Sequence[str], seeds: int) -> Iterator[Case]:
    """The five images for each order, fraction and noise level, whose words they carry."""
    levels = [(fraction, SNR_DB) for fraction in FRACTIONS] + [(workload.FRACTION, NOISY_DB)]
    for fraction, snr_db in levels:
        for order in orders:
            for seed in range(seeds):
                patterns = workload.pattern_set(order, seed, fraction=fraction)
                for name, truth in workload.truths().items():
                    words = {"order": order, "fraction": fraction, "snr_db": snr_db, "image": name, "seed": seed}
                    yield Case(words, workload.measure(truth, patterns, snr_db=snr_db, seed=seed), truth)


def class_cases(
    seeds: int, seen: Collection[str], *, size: int = workload.SIZE, per_seed: int = OBJECTS_PER_SEED
) -> Iterator[Case]:
    """Objects of every family and of the figures, zig-zag, 18.75 %, 30 dB; words "class" and "seen" (in training)."""
    for seed in range(seeds):
        patterns = workload.pattern_set("zig-zag", seed, size=size)
        for kind, image, truth in _objects(seed, size, per_seed):
            words = {"class": kind, "seen": kind in seen, "image": image, "seed": seed}
            yield Case(words, workload.measure(truth, patterns, snr_db=SNR_DB, seed=seed), truth)


def _objects(seed: int, size: int, per_seed: int) -> Iterator[tuple[str, str, Image]]:
    for name in UNSEEN:  # first, because where time is short they tell more
        yield name, name, np.asarray(unseen(name, size), dtype=np.float64)
    for name in workload.PHOTOGRAPHS:
        yield name, name, workload.photograph(name, size)
    for number, family in enumerate(FAMILIES):
        for k in range(per_seed):
            rng = np.random.default_rng([_OBJECT_SEED, number, seed, k])
            yield family, f"{family} {seed}.{k}", random_object(rng, size, {family: 1.0}).astype(np.float64)


def unseen(name: str, size: int) -> NDArray[np.float32]:
    """A simulated object on pixels."""
    return block_mean(render_object(name, size, _SUBPIXELS), _SUBPIXELS)


def size_cases(size: int, seeds: int) -> Iterator[Case]:
    """The photographs and CAS at another size; zig-zag, 18.75 %, 30 dB."""
    truths = {name: workload.photograph(name, size) for name in workload.PHOTOGRAPHS}
    truths["CAS"] = (unseen("CAS", size) >= 0.5).astype(np.float64)
    for seed in range(seeds):
        patterns = workload.pattern_set("zig-zag", seed, size=size)
        for name, truth in truths.items():
            words = {"size": size, "image": name, "seed": seed}
            yield Case(words, workload.measure(truth, patterns, snr_db=SNR_DB, seed=seed), truth)
