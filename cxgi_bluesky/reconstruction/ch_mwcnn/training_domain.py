"""Whether a measurement lies within what the network was trained on; if not, in what it does not."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ...errors import MeasurementError
from .inputs import NetworkInput


def check_trained_size(domain: Mapping[str, Any], size: int) -> None:
    """Raise `CxgiError` for a size that the weights were not trained on.

    Parameters
    ----------
    domain : mapping
        Block ``known`` of the model card.
    size : int
        Pixels per side n.
    """
    if size not in domain["sizes"]:
        raise MeasurementError(
            f"size {size} is unknown to the network's weights (they know {domain['sizes']}): use method tv"
        )


def noise_share(given: NetworkInput) -> Tensor:
    """Share of what is known of errors, noise and masks', in the power of the measured coefficients, shape (b,)."""
    noise = (given.variance * given.measured).sum(dim=(1, 2, 3))
    return noise / given.coefficients.square().sum(dim=(1, 2, 3)).clamp(min=torch.finfo(noise.dtype).tiny)


def find_etched_sizes(card: Mapping[str, Any]) -> tuple[int, ...] | None:
    """The sizes at which the training had masks with errors, by the boards of its card; None if that does not say."""
    try:
        count = card["training"]["boards"]["count"]
        return tuple(sorted(int(size) for size, boards in count.items() if boards))
    except (KeyError, TypeError, ValueError, AttributeError):
        return None


def find_max_snr_db(card: Mapping[str, Any]) -> float:
    """The highest signal-to-noise ratio of the training (dB), by its card; infinite if that does not say.

    It is 20 log10 of the rms of the measured coefficients without k = 0 over sigma.
    """
    try:
        _, highest = card["training"]["noise"]["snr_db"]
        highest = float(highest)
    except (KeyError, TypeError, ValueError):
        return math.inf
    return highest if math.isfinite(highest) else math.inf


def list_warnings(
    domain: Mapping[str, Any], given: NetworkInput, *, model_error: bool, etched_sizes: tuple[int, ...] | None = None
) -> tuple[str, ...]:
    """List, a sentence each, in what a measurement is not like any of the training.

    Parameters
    ----------
    domain : mapping
        Block ``known`` of the model card: ``shortest`` (patterns), ``noise_share`` (highest), ``zero_level`` (lowest
        and highest, in the network's own terms), ``etched_masks``.
    given : NetworkInput
        A batch of one.
    model_error : bool
        Whether the coefficients have errors beyond the detector's noise.
    etched_sizes : tuple of int, optional
        At which sizes the training had masks with errors; None: unknown.
    """
    found = []
    patterns = int(given.measured.sum())
    if patterns < domain["shortest"]:
        found.append(f"{patterns} patterns, the network was trained on scans from {domain['shortest']} on")
    noise, most = float(noise_share(given)), domain["noise_share"]
    if noise > most:
        found.append(_of_noise(noise, most))
    level = float(given.zero_level)
    lowest, highest = domain["zero_level"]
    if level > highest:
        contrast, least = _format_apart(1 / level, 1 / highest)
        found.append(f"contrast (rms over mean) {contrast}, trained from {least} on")
    if level < lowest:
        mean, least = _format_apart(level, lowest)
        found.append(f"mean over rms contrast {mean}, trained from {least} on: is the dark level right?")
    if model_error:
        found += _of_masks(given.measured.shape[-1], domain["etched_masks"], etched_sizes)
    return tuple(found)


def _of_noise(noise: float, most: float) -> str:
    if not noise <= 1:
        trained = f"trained up to {_plain(100 * most, 3)}%"
        return f"errors are larger than the coefficients ({_plain(noise, 2)} times their power), {trained}"
    share, trained = _format_apart(100 * noise, 100 * most)
    return f"errors make up {share}% of the coefficients' power, trained up to {trained}%"


def _of_masks(size: int, etched: bool, sizes: tuple[int, ...] | None) -> list[str]:
    if not etched:
        return ["masks with errors, trained on perfect ones only"]
    if not sizes or size in sizes:
        return []
    known = ", ".join(map(str, sizes))
    return [f"masks with errors, trained on perfect ones only at {size} pixels (with errors at {known})"]


def _format_apart(one: float, other: float) -> tuple[str, str]:
    """Both numbers with as few digits as tell them apart."""
    for digits in range(2, 7):
        texts = _plain(one, digits), _plain(other, digits)
        if texts[0] != texts[1]:
            break
    return texts


def _plain(value: float, digits: int) -> str:
    """So many digits that count, without an exponent where the number is of an ordinary length."""
    return f"{float(f'{value:.{digits}g}'):.6g}"
