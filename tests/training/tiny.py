"""A training that takes a second."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from cxgi_bluesky.reconstruction.network import NetworkConfig
from cxgi_bluesky.training.boards import BoardRanges, DrawnBoard, draw_board
from cxgi_bluesky.training.config import BoardConfig, ObjectConfig, TrainingConfig

NETWORK = NetworkConfig(widths=(4, 4, 4), sigma_widths=(4, 4, 4), passes=1)
NO_BOARDS = BoardConfig(count={})


def tiny(folder: Path, **changes: Any) -> TrainingConfig:
    """Few steps on few small images."""
    words = {
        "steps": 4,
        "doubt_steps": 2,
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
