"""A check of the training: judge the averaged weights, keep them if they are the best, write every file."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

from safetensors import SafetensorError

from ..errors import CxgiError
from ..reconstruction.ch_mwcnn.network import CHMWCNN
from ..reconstruction.ch_mwcnn.sigma_calibration import SigmaLaw
from ..reconstruction.ch_mwcnn.weights import save_weights
from .checkpoint import TrainingState
from .checks import Checks, judged
from .config import TrainingConfig
from .curves import draw_curves
from .history import Line, add_line
from .model_card import WEIGHTS, card_of, write_card

__all__ = ["CHECKPOINT", "CURVES", "HISTORY", "WEIGHTS", "check_and_write", "in_time", "write_weights"]

CHECKPOINT, HISTORY, CURVES = "checkpoint.safetensors", "history.jsonl", "curves.png"


def check_and_write(
    state: TrainingState,
    config: TrainingConfig,
    out: Path,
    checks: Checks,
    known: dict[str, Any],
    law: SigmaLaw | None,
    line: Line,
    left: float,
    note: Callable[[str], None],
) -> None:
    """Judge, write, and say so.

    While the pictures are trained, weights are kept if the mean PSNR of the checks is the best so far; after that
    the last are: the learning rate has come down, and there is little to overfit.

    Parameters
    ----------
    state : TrainingState
    config : TrainingConfig
    out : Path
    checks, known : dict
        What to judge by, and what the training shows (`known_range`).
    law : SigmaLaw or None
        Of the scale of each image's sigma, if it is fitted already.
    line : dict
        Of the history: step, loss and seconds; gets the check's numbers.
    left : float
        Seconds to the end of the training.
    note : callable

    Raises
    ------
    CxgiError
        If a file cannot be written.
    """
    pictures = state.step <= config.steps
    network = state.averaged()
    found = {name: judged(network, batches, with_sigma=not pictures, law=law) for name, batches in checks.items()}
    line["psnr_db"] = {name: round(one.psnr_db, 3) for name, one in found.items()}
    if not pictures:
        line["covered"] = {name: round(one.covered, 3) for name, one in found.items()}
        line["images_covered"] = {name: round(one.images_covered, 3) for name, one in found.items()}
    score = math.fsum(line["psnr_db"].values()) / len(found)
    best = not pictures or score > state.best
    if best:
        state.best = max(score, state.best)
    try:
        if best:
            write_weights(out, network, card_of(config, line, network, known, state.changes, law))
        lines = add_line(out / HISTORY, line)
        draw_curves(lines, out / CURVES, config.steps)
        state.save(out / CHECKPOINT, config)
    except (OSError, SafetensorError) as error:
        raise CxgiError(f"files of the training cannot be written in {out} ({error})") from error
    note(_in_words(line, score, config, left, kept=best and pictures))


def write_weights(out: Path, network: CHMWCNN, card: dict[str, Any]) -> None:
    """Weights, then the card beside them."""
    save_weights(out / WEIGHTS, network, card)
    write_card(out, card)


def _in_words(line: dict[str, Any], score: float, config: TrainingConfig, left: float, *, kept: bool) -> str:
    loss = "no finite loss" if line["loss"] is None else f"loss {line['loss']:.4f}"
    covered = ""
    if "covered" in line:
        mean = math.fsum(line["covered"].values()) / len(line["covered"])
        covered = f", {mean:.0%} of the pixels within 1 sigma"
    more = f", {line['skipped']} steps left out" if "skipped" in line else ""
    words = f"step {line['step']} of {config.all_steps}: {loss}, PSNR {score:.2f} dB{', the best so far' * kept}"
    names = "; ".join(f"{name}: {value:.2f}" for name, value in line["psnr_db"].items())
    return f"{words}{covered}{more} ({names}); {in_time(line['seconds'])}, {in_time(left)} left"


def in_time(seconds: float) -> str:
    """Such as "2 h 5 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
