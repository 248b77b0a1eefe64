"""What the network's training has seen of what it is judged on here, as its own weights say it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cxgi_bluesky.masks.board import load_board
from cxgi_bluesky.simulation.beamline import simulation_parameters
from cxgi_bluesky.simulation.board.etching import Defects

# Of trainings whose cards do not name them yet.
_FIRST_FAMILIES = ("binary_shapes", "phantom", "thickness_profile", "texture", "letters", "gaps", "photograph")


@dataclass(frozen=True)
class TrainingSeen:
    """What was in training.

    Attributes
    ----------
    etched_boards, contains_ours : bool or None
        Whether etched boards were, and whether their ranges contain the boards here; None where that is not said.
    own_images : bool
        Whether images were that the package does not draw.
    """

    etched_boards: bool | None
    contains_ours: bool | None
    own_images: bool = False

    def sentence(self) -> str:
        """As the pages say it."""
        objects = "The objects of the figures were never in its training."
        if self.own_images:
            objects = "Images of somebody's own were in its training; which ones, its weights do not say."
        if self.etched_boards is None:
            return f"The network's weights do not say whether etched boards were in its training. {objects}"
        if not self.etched_boards:
            return f"The network was trained on perfect masks alone: it has never met an etched board. {objects}"
        text = "The network was trained on simulated boards too, their defects drawn at random"
        if self.contains_ours:
            text += (
                " from ranges that contain those of the boards here: it has met defects of just this kind and size, "
                "which no training can promise for a real board. These boards themselves it has never met"
            )
        return f"{text}. {objects}"


def training_seen(weights: str | Path | None = None) -> TrainingSeen:
    """What the model card in the weights says (by default of those shipped)."""
    from cxgi_bluesky.reconstruction.ch_mwcnn.weights import load_network

    return seen_by(load_network(weights).card)


def families_seen(weights: str | Path | None = None) -> frozenset[str]:
    """Families of drawn objects that were in the training of some weights (by default of those shipped)."""
    from cxgi_bluesky.reconstruction.ch_mwcnn.weights import load_network

    training = load_network(weights).card.get("training", {})
    return frozenset(training.get("objects", {}).get("families") or _FIRST_FAMILIES)


def seen_by(card: Mapping[str, Any]) -> TrainingSeen:
    """What a model card says of boards."""
    etched = card.get("known", {}).get("etched_masks")
    training = card.get("training", {})
    ranges, own = training.get("boards", {}).get("ranges"), training.get("objects", {}).get("folder") is not None
    if not etched or ranges is None:
        return TrainingSeen(etched, None, own)
    inside = (
        low <= value <= high
        for board in ("cu32", "au64")
        for name, value in sizes_of(board).items()
        for low, high in [ranges[name]]
    )
    return TrainingSeen(True, all(inside), own)


def sizes_of(board_name: str) -> dict[str, float]:
    """The defects of one of the paper's boards as simulated, lengths in mask pixels; and its D_r."""
    board = load_board(board_name)
    parameters = simulation_parameters(board, etched=True)
    assert isinstance(parameters.defects, Defects)
    defects, pixel_um = parameters.defects, board.pixel_um
    lengths = {
        "corner": defects.corner_um,
        "side_wall": defects.side_wall_um,
        "offset": defects.offset_um,
        "offset_rms": defects.offset_rms_um,
        "offset_field": defects.offset_field_um,
        "stage_rms": parameters.stage_rms_um,
    }
    made = {name: length / pixel_um for name, length in lengths.items()}
    return {**made, "thickness_rms": defects.thickness_rms, "d_r": board.d_r}
