"""The model card: what a network was trained on and what it reached, in the weights' metadata and beside them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from ..reconstruction.network import CHMWCNN
from ..reconstruction.weights_file import SCHEMA
from .checkpoint import Change
from .config import TrainingConfig

CARD = "ch_mwcnn.json"


def card_of(
    config: TrainingConfig, check: dict[str, Any], network: CHMWCNN, changes: list[Change] | None = None
) -> dict[str, Any]:
    """Plain values; `known` is what the network can be asked without a warning.

    Parameters
    ----------
    config : TrainingConfig
    check : dict
        The check's line of the history.
    network : CHMWCNN
    changes : list of dict, optional
        Where a restart brought another configuration (`TrainingState.changes`).
    """
    boards = config.boards.share > 0 and any(config.boards.count.get(size) for size in config.sizes)
    return {
        "schema": SCHEMA,
        "parameters": sum(p.numel() for p in network.parameters()),
        "step": check["step"],
        "check": {name: value for name, value in check.items() if name not in ("seconds", "step", "skipped")},
        "has_sigma": check["step"] > config.steps,
        "known": {
            "sizes": sorted(config.sizes),
            "fraction": [config.sampling.shortest / max(config.sizes) ** 2, config.sampling.fraction[1]],
            "shortest": config.sampling.shortest,
            "snr_db": list(config.noise.snr_db),
            "etched_masks": boards,
        },
        "training": config.to_dict(),
        "changed_while_training": changes or [],
    }


def write_card(folder: Path, card: dict[str, Any], weights: str = "ch_mwcnn.safetensors") -> Path:
    """Write the card beside the weights, with the digest of their file."""
    digest = hashlib.sha256((folder / weights).read_bytes()).hexdigest()
    path = folder / CARD
    new = path.with_suffix(".new")
    new.write_text(json.dumps({**card, "weights": weights, "sha256": digest}, indent=1) + "\n", encoding="utf-8")
    new.replace(path)
    return path
