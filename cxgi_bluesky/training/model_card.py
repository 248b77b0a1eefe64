"""The model card: what a network was trained on and what it reached, in the weights' metadata and beside them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import torch

from .._files.atomic_write import whole_file
from ..errors import CxgiError
from ..reconstruction.ch_mwcnn.network import CHMWCNN
from ..reconstruction.ch_mwcnn.sigma_calibration import SigmaLaw
from ..reconstruction.ch_mwcnn.training_domain import noise_share
from ..reconstruction.ch_mwcnn.weights import SCHEMA, check_card_beside, load_without_card
from .checkpoint import Change
from .config import TrainingConfig
from .data import TrainingData

WEIGHTS, CARD = "ch_mwcnn.safetensors", "ch_mwcnn.json"


def make_card(
    config: TrainingConfig,
    check: dict[str, Any],
    network: CHMWCNN,
    known: dict[str, Any],
    changes: list[Change] | None = None,
    law: SigmaLaw | None = None,
) -> dict[str, Any]:
    """Collect the plain values of the card.

    Parameters
    ----------
    config : TrainingConfig
    check : dict
        The check's line of the history.
    network : CHMWCNN
    known : dict
        What the network handles without a warning (`describe_known_range`).
    changes : list of dict, optional
        Where a restart brought another configuration (`TrainingState.changes`).
    law : SigmaLaw, optional
        Of the scale of each image's sigma, once it is fitted.
    """
    return {
        "schema": SCHEMA,
        "parameters": sum(p.numel() for p in network.parameters()),
        "step": check["step"],
        "check": {name: value for name, value in check.items() if name not in ("seconds", "step", "skipped")},
        "has_sigma": check["step"] > config.steps,
        "sigma_law": law.to_dict() if law else None,
        "known": known,
        "training": config.to_dict(),
        "changed_while_training": changes or [],
    }


def write_card(folder: Path, card: dict[str, Any]) -> Path:
    """Write the card beside the weights, with the digest of their file.

    Parameters
    ----------
    folder : Path
        Where the weights are.
    card : dict
        Plain values (`make_card`).

    Returns
    -------
    Path
        File of the card.
    """
    digest = hashlib.sha256((folder / WEIGHTS).read_bytes()).hexdigest()
    path = folder / CARD
    with whole_file(path) as part:
        part.write_text(json.dumps({**card, "weights": WEIGHTS, "sha256": digest}, indent=1) + "\n", encoding="utf-8")
    return path


def write_missing_card(folder: Path) -> None:
    """Write the card anew where it is not that of the weights: a process may have been killed between the two files.

    Raises
    ------
    CxgiError
        If the weights cannot be used.
    """
    inside = load_without_card(folder / WEIGHTS)
    try:
        check_card_beside(folder / WEIGHTS, inside.sha256, needed=True)
    except CxgiError:
        write_card(folder, inside.card)


# ---------------------------------------------------------------- known range


_BATCHES = 60
_BEYOND = 0.002  # share of the training on either side that is called beyond it
_ALL_NOISE = 0.95  # sigma may be given too large, so that it seems to be more than all


def describe_known_range(data: TrainingData) -> dict[str, Any]:
    """Block ``known`` of the model card (`reconstruction.ch_mwcnn.training_domain`)."""
    config = data.config
    batches = [data.batch(config.all_steps + number).given for number in range(_BATCHES)]
    noise, level = (
        torch.cat(values) for values in zip(*((noise_share(b), b.zero_level) for b in batches), strict=True)
    )
    return {
        "sizes": sorted(config.sizes),
        "shortest": config.sampling.shortest,
        "noise_share": min(_ALL_NOISE, _limits(noise)[1]),
        "zero_level": _limits(level),
        "etched_masks": bool(data.boards),
    }


def _limits(values: torch.Tensor) -> list[float]:
    return [round(float(torch.quantile(values, share)), 4) for share in (_BEYOND, 1 - _BEYOND)]
