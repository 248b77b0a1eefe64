"""Whether a measurement lies within what the network was trained on; if not, in what it does not."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..errors import CxgiError
from .network_input import NetworkInput


def check_known_size(known: Mapping[str, Any], size: int) -> None:
    """Raise `CxgiError` for a size that the weights were not trained on."""
    if size not in known["sizes"]:
        raise CxgiError(f"size {size} is unknown to the network's weights (they know {known['sizes']}): use method tv")


def noise_share(given: NetworkInput) -> Tensor:
    """Share of what is known of errors, noise and masks', in the power of the measured coefficients, shape (b,)."""
    noise = (given.variance * given.measured).sum(dim=(1, 2, 3))
    return noise / given.coefficients.square().sum(dim=(1, 2, 3)).clamp(min=torch.finfo(noise.dtype).tiny)


def cautions(known: Mapping[str, Any], given: NetworkInput, *, model_error: bool) -> tuple[str, ...]:
    """One sentence for each way in which a measurement is not like any of the training.

    Parameters
    ----------
    known : mapping
        Block ``known`` of the model card: ``shortest`` (patterns), ``noise_share`` (highest), ``zero_level`` (lowest
        and highest, in the network's own terms), ``etched_masks``.
    given : NetworkInput
        A batch of one.
    model_error : bool
        Whether the coefficients have errors beyond the detector's noise.
    """
    found = []
    patterns = int(given.measured.sum())
    if patterns < known["shortest"]:
        found.append(f"{patterns} patterns, the network was trained on scans from {known['shortest']} on")
    noise, most = float(noise_share(given)), known["noise_share"]
    if noise > most:
        found.append(f"errors make up {noise:.0%} of the coefficients' power, trained up to {most:.0%}")
    level = float(given.zero_level)
    lowest, highest = known["zero_level"]
    if level > highest:
        found.append(f"contrast (rms over mean) {1 / level:.2g}, trained from {1 / highest:.2g} on")
    if level < lowest:
        found.append(f"mean over rms contrast {level:.2g}, trained from {lowest:.2g} on: is the dark level right?")
    if model_error and not known["etched_masks"]:
        found.append("masks with errors, trained on perfect ones only")
    return tuple(found)
