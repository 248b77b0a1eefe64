"""What a training configuration must obey; each rule names the key, its value and a remedy."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from ..errors import CxgiError
from ..masks.transform import check_size
from ..reconstruction.ch_mwcnn.network import LARGEST_WIDTH, MOST_PASSES
from ..simulation.random_objects import FAMILIES

if TYPE_CHECKING:
    from .config import TrainingConfig

LARGEST_SEED = 10**13  # that of a batch is a million times larger, and torch takes 64 bits
LARGEST_RATE = 1.0
SNR_DB = (-100.0, 200.0)
LEAST_SIZE = 8  # three wavelet levels
LARGEST_BOARD = 128  # the learned orders, which choose the tiles that are drawn, know no larger ones
FEWEST_PATTERNS = 8
_SPREADS = ("offset_rms", "offset_field")  # drawn evenly in their logarithm


def check_config(config: TrainingConfig) -> None:
    """Raise `CxgiError` for the first value that cannot be used."""
    _check_steps(config)
    _check_sizes(config)
    _check_objects(config)
    _check_sampling(config)
    _check_noise(config)
    _check_boards(config)
    _check_network(config)


def _refuse(key: str, value: Any, remedy: str) -> CxgiError:
    return CxgiError(f"{key} {value}: {remedy}")


def _check_steps(c: TrainingConfig) -> None:
    for key in ("steps", "batch", "check_every", "validation_objects"):
        _check_least(key, getattr(c, key), 1)
    for key in ("doubt_steps", "warm_up", "weight_decay"):
        _check_least(key, getattr(c, key), 0)
    _check_between("seed", c.seed, 0, LARGEST_SEED)
    if not 0 < c.learning_rate <= LARGEST_RATE:
        raise _refuse("learning_rate", c.learning_rate, f"give a positive number up to {LARGEST_RATE}, such as 0.001")
    if not 0 < c.last_learning_rate <= c.learning_rate:
        remedy = f"give a positive number, at most learning_rate ({c.learning_rate})"
        raise _refuse("last_learning_rate", c.last_learning_rate, remedy)
    if not 0 <= c.average < 1:
        raise _refuse("average", c.average, "give the share that stays at each step, 0 <= average < 1")


def _check_sizes(c: TrainingConfig) -> None:
    _check_shares("sizes", c.sizes)
    for size in c.sizes:
        check_size(size)
        if size < LEAST_SIZE:
            raise _refuse("sizes", size, f"the network's three wavelet levels need at least {LEAST_SIZE} pixels")
    if max(c.sizes) > max(c.objects.count, default=0):
        known = sorted(c.objects.count)
        raise CxgiError(f"size {max(c.sizes)} has no objects: objects.count has {known}, give it as many pixels")


def _check_objects(c: TrainingConfig) -> None:
    for size, count in c.objects.count.items():
        check_size(size)
        _check_least(f"objects.count[{size}]", count, 1)
    unknown = set(c.objects.families) - set(FAMILIES)
    if unknown:
        raise CxgiError(f"objects.families {sorted(unknown)} unknown: choose of {', '.join(FAMILIES)}")
    if c.objects.families:
        _check_shares("objects.families", c.objects.families)
    _check_share("objects.folder_share", c.objects.folder_share)


def _check_sampling(c: TrainingConfig) -> None:
    s = c.sampling
    low, high = s.fraction
    if not 0 < low <= high <= 1:
        raise CxgiError(f"sampling.fraction {s.fraction}: give two numbers, 0 < from <= to <= 1")
    if not 0 < s.usual <= 1:
        raise _refuse("sampling.usual", s.usual, "give a fraction, 0 < usual <= 1")
    for key in ("usual_share", "whole_share", "short_share"):
        _check_share(f"sampling.{key}", getattr(s, key))
    if s.usual_share + s.whole_share + s.short_share > 1:
        raise CxgiError(
            f"sampling.usual_share {s.usual_share} + whole_share {s.whole_share} + short_share {s.short_share} is more "
            "than 1: they are shares of all scans"
        )
    _check_least("sampling.shortest", s.shortest, FEWEST_PATTERNS)
    if s.shortest > min(c.sizes) ** 2:
        remedy = f"size {min(c.sizes)} has only {min(c.sizes) ** 2} patterns, give fewer"
        raise _refuse("sampling.shortest", s.shortest, remedy)


def _check_noise(c: TrainingConfig) -> None:
    low, high = c.noise.snr_db
    if low > high:
        raise _refuse("noise.snr_db", c.noise.snr_db, "give the lower bound first")
    if not SNR_DB[0] <= low <= high <= SNR_DB[1]:
        raise _refuse("noise.snr_db", c.noise.snr_db, f"give decibels between {SNR_DB[0]:g} and {SNR_DB[1]:g}")
    _check_between("noise.drift", c.noise.drift, 0, 1)  # relative
    _check_least("noise.sigma_error", c.noise.sigma_error, 0)


def _check_boards(c: TrainingConfig) -> None:
    b = c.boards
    for key in ("none", "reference"):
        _check_share(f"boards.{key}", getattr(b, key))
    if b.share > 1:
        raise CxgiError(
            f"boards.none {b.none} + reference {b.reference} is more than 1: they are shares of all steps, and the "
            "rest has perfect masks"
        )
    for size, count in b.count.items():
        check_size(size)
        _check_least(f"boards.count[{size}]", count, 0)
        if count and size > LARGEST_BOARD:
            raise _refuse(f"boards.count[{size}]", count, f"boards are drawn up to {LARGEST_BOARD} pixels a side")
        if count and not 2 * FEWEST_PATTERNS <= b.patterns.get(size, 0) <= size**2:
            found = b.patterns.get(size, "missing")
            raise _refuse(f"boards.patterns[{size}]", found, f"give {2 * FEWEST_PATTERNS} to {size**2} tiles")
    _check_between("boards.seed", b.seed, 100, LARGEST_SEED)  # the boards of the checks are those of seeds below
    for name, (low, high) in asdict(b.ranges).items():
        _check_range(name, low, high)


def _check_range(name: str, low: float, high: float) -> None:
    key, value = f"boards.ranges.{name}", (low, high)
    if low > high:
        raise _refuse(key, value, "give the lower bound first")
    if name == "d_r" and not 0 < low <= high <= 1:
        raise _refuse(key, value, "a modulation depth ratio lies above 0 and up to 1")
    if name in _SPREADS and low <= 0:
        raise _refuse(key, value, "it is drawn evenly in its logarithm: give numbers above 0, such as 0.001")
    if name != "offset" and low < 0:
        raise _refuse(key, value, "a size is not negative")


def _check_network(c: TrainingConfig) -> None:
    n = c.network
    for key in ("widths", "sigma_widths"):
        for width in getattr(n, key):
            _check_between(f"network.{key}", width, 1, LARGEST_WIDTH)
    _check_between("network.passes", n.passes, 1, MOST_PASSES)
    if n.wavelet == "haar":
        return
    from ..reconstruction.ch_mwcnn.layers import wavelet_matrix

    try:
        wavelet_matrix(LEAST_SIZE, n.wavelet)
    except CxgiError as error:
        raise CxgiError(f"network.wavelet: {error}") from error


def _check_least(key: str, value: float, least: float) -> None:
    if not (math.isfinite(value) and value >= least):
        raise _refuse(key, value, f"give at least {least}")


def _check_between(key: str, value: float, least: float, most: float) -> None:
    _check_least(key, value, least)
    if value > most:
        raise _refuse(key, value, f"give at most {most}")


def _check_share(key: str, value: float) -> None:
    if not 0 <= value <= 1:
        raise _refuse(key, value, "give a share, 0 to 1")


def _check_shares(key: str, shares: Mapping[Any, float]) -> None:
    if not shares or min(shares.values()) < 0 or not math.fsum(shares.values()) > 0:
        raise _refuse(key, dict(shares), "give each a share of at least 0, and one more than that")
