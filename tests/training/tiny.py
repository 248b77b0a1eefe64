"""A training that takes a second."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file

from cxgi_bluesky.reconstruction.ch_mwcnn.network import CHMWCNN, NetworkConfig
from cxgi_bluesky.reconstruction.ch_mwcnn.weights import load_network, save_weights
from cxgi_bluesky.training import validation as checking
from cxgi_bluesky.training.boards import BoardRanges, DrawnBoard, draw_board
from cxgi_bluesky.training.config import BoardConfig, ObjectConfig, TrainingConfig

NETWORK = NetworkConfig(widths=(4, 4, 4), sigma_widths=(4, 4, 4), passes=1)
NO_BOARDS = BoardConfig(count={})
KNOWN = {"sizes": [32], "shortest": 24, "noise_share": 0.6, "zero_level": [-0.5, 40.0], "etched_masks": False}


def tiny(folder: Path, **changes: Any) -> TrainingConfig:
    """Few steps on few small images."""
    words = {
        "steps": 4,
        "uncertainty_steps": 2,
        "batch": 1,
        "learning_rate": 1e-2,
        "warm_up": 2,
        "average": 0.5,
        "bfloat16": False,
        "sizes": {32: 0.8, 16: 0.2},
        "objects": ObjectConfig(count={32: 8}, families={"binary_shapes": 1.0}),
        "boards": NO_BOARDS,
        "network": NETWORK,
        "validation_objects": 3,
        "check_every": 2,
        "cache": str(folder / "cache"),
        "seed": 7,
    }
    return TrainingConfig(**{**words, **changes})


@lru_cache(maxsize=1)
def small_board() -> DrawnBoard:
    """Etched masks of 16 x 16."""
    return draw_board(16, 60, BoardRanges(), seed=5)


def quiet(text: str) -> None:
    """Tell nobody."""


def begun_with(network: CHMWCNN, folder) -> str:
    """A file of weights to begin a training with."""
    path = folder / "begun.safetensors"
    save_weights(path, network, {"known": KNOWN})
    return str(path)


def state_of(folder) -> dict[str, torch.Tensor]:
    return load_file(folder / checking.CHECKPOINT)


def assert_same_weights(one, two) -> None:
    """The words in the files stand in any order."""
    first, second = load_network(one / checking.WEIGHTS), load_network(two / checking.WEIGHTS)
    assert first.card == second.card
    for name, value in first.network.state_dict().items():
        assert torch.equal(value, second.network.state_dict()[name]), name


def assert_same_state(one, two) -> None:
    first, second = state_of(one), state_of(two)
    assert first.keys() == second.keys()
    for name, value in first.items():
        assert torch.equal(value, second[name]), name
