"""A check of the training: score the averaged weights, store them if they are the best, write every file."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import SafetensorError
from torch import Tensor

from .._files.atomic_write import whole_file
from ..errors import StorageError
from ..reconstruction.ch_mwcnn.inputs import initial_images
from ..reconstruction.ch_mwcnn.layers import CPU
from ..reconstruction.ch_mwcnn.network import CHMWCNN
from ..reconstruction.ch_mwcnn.sigma_calibration import SigmaLaw, log_sigma_to_scale
from ..reconstruction.ch_mwcnn.weights import save_weights
from ..simulation.random_objects import random_object
from .boards import DrawnBoard, board_pool
from .checkpoint import TrainingState
from .config import NoiseConfig, SamplingConfig, TrainingConfig
from .data import IMAGE_PIXELS, cache_folder
from .losses import errors_in_log
from .measurements import Batch, Masks, simulate
from .model_card import WEIGHTS, make_card, write_card

if TYPE_CHECKING:
    from matplotlib.figure import Figure


_BOARDS = 2
_APART = 100  # the boards of the checks are those of other seeds
_BATCH_PIXELS = 16 * IMAGE_PIXELS
_SNR_DB = 30.0
_USUAL, _FEW = 0.1875, 0.0625  # sampling fractions
_ETCHED: dict[Masks, str] = {
    "none": "etched, nothing known",
    "reference": "etched, reference scan",
}

Checks = dict[str, list[Batch]]


@dataclass(frozen=True)
class Scores:
    """Scores of a network in one check.

    Attributes
    ----------
    psnr_db : float
        Mean over the images, range 1, images clipped to 0..1.
    covered : float
        Share of pixels whose error lies within one sigma; NaN where sigma was not asked for.
    images_covered : float
        Share of images for which that is 60 to 75 %; NaN likewise.
    """

    psnr_db: float
    covered: float
    images_covered: float


def make_checks(
    config: TrainingConfig, report: Callable[[str], None] = lambda text: None, device: torch.device = CPU
) -> Checks:
    """Simulate the checks: each size at 18.75 % and the main one at 6.25 %, 30 dB; and the main one behind new boards.

    The boards are none of those trained on. The main size is 64, or else the one that training meets most often.

    Parameters
    ----------
    config : TrainingConfig
    note : callable, optional
        Takes a line of text about boards that are drawn (default: none).
    device : torch.device, optional
        On which the network is checked (default: the processor); the same checks on every device.

    Returns
    -------
    dict of str to list of Batch
    """
    main = 64 if 64 in config.sizes else max(config.sizes, key=lambda size: config.sizes[size])
    made = {f"{size}, 18.75 %": _check(config, size, "perfect", _USUAL) for size in sorted(config.sizes)}
    made[f"{main}, 6.25 %"] = _check(config, main, "perfect", _FEW)
    b = config.boards
    wanted = [masks for masks in _ETCHED if getattr(b, masks) > 0 and b.count.get(main)]
    if wanted:
        boards = board_pool(_BOARDS, main, b.patterns[main], b.ranges, b.seed - _APART, cache_folder(config), report)
        made |= {_ETCHED[masks]: _check(config, main, masks, _USUAL, boards) for masks in wanted}
    return {name: [batch.to(device) for batch in batches] for name, batches in made.items()}


def _check(
    config: TrainingConfig, size: int, masks: Masks, fraction: float, boards: list[DrawnBoard] | None = None
) -> list[Batch]:
    sampling = SamplingConfig((fraction, fraction), fraction, usual_share=1.0, whole_share=0.0, short_share=0.0)
    noise = NoiseConfig((_SNR_DB, _SNR_DB), config.noise.drift, sigma_error=0.0)
    generator = torch.Generator().manual_seed(config.seed + size)
    parts = _objects(config, size).split(max(1, _BATCH_PIXELS // size**2))
    return [
        simulate(
            part, masks, generator, sampling=sampling, noise=noise, board=boards[i % len(boards)] if boards else None
        )
        for i, part in enumerate(parts)
    ]


def _objects(config: TrainingConfig, size: int) -> Tensor:
    count = max(1, config.validation_objects * IMAGE_PIXELS // max(IMAGE_PIXELS, size**2))
    rng, shares = np.random.default_rng([config.seed, 1, size]), config.objects.shares
    return torch.from_numpy(np.stack([random_object(rng, size, shares) for _ in range(count)]))[:, None]


def score_case(network: CHMWCNN, batches: list[Batch], *, with_sigma: bool, law: SigmaLaw | None = None) -> Scores:
    """Run a network on the images of a check.

    Parameters
    ----------
    network : CHMWCNN
    batches : list of Batch
        Of the check.
    with_sigma : bool
        Whether the uncertainty is scored too.
    law : SigmaLaw, optional
        With which sigma is scaled (default: sigma as the network gives it).
    """
    errors, inside = [], []
    with torch.inference_mode():
        for batch in batches:
            g = batch.given
            initial = initial_images(g)
            image, log_sigma = network(g, initial, with_sigma=with_sigma)
            errors.append(((image * g.deviation + g.mean).clamp(0, 1) - batch.truth).square().mean(dim=(1, 2, 3)))
            if log_sigma is not None:
                log_sigma = log_sigma_to_scale(law, network, g, initial, image, log_sigma)
                within = errors_in_log(image, batch) < log_sigma
                inside.append(within.float().mean(dim=(1, 2, 3)))
    psnr = float((-10 * torch.log10(torch.cat(errors).clamp(min=1e-8))).mean())
    if not inside:
        return Scores(psnr, float("nan"), float("nan"))
    share = torch.cat(inside)
    return Scores(psnr, float(share.mean()), float(((share >= 0.6) & (share <= 0.75)).float().mean()))


# ---------------------------------------------------------------- history


Line = dict[str, Any]


def read_history(path: Path) -> list[Line]:
    """Read all lines; one that was cut short at the end is left out."""
    if not path.exists():
        return []
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines():
        try:
            lines.append(json.loads(text))
        except ValueError:
            break
    return lines


def add_line(path: Path, line: Line) -> list[Line]:
    """Write a line after those of the steps before it (later ones are of a training that was cut off); all lines.

    Parameters
    ----------
    path : Path
        File of the history.
    line : dict
        Of one check, `step` among its keys; plain values without NaN.
    """
    lines = [*(old for old in read_history(path) if old["step"] < line["step"]), line]
    with whole_file(path) as part:
        part.write_text("".join(json.dumps(one, allow_nan=False) + "\n" for one in lines), encoding="utf-8")
    return lines


# ---------------------------------------------------------------- curves


_COVERED = (0.6, 0.75)  # where the share of pixels within one sigma ought to lie


def draw_curves(lines: list[Line], path: Path, steps: int) -> None:
    """Write `curves` to a .png file, which appears whole or not at all.

    Parameters
    ----------
    lines : list of dict
        Of the history.
    path : Path
        The file.
    steps : int
        Where the part for the images ends.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    figure = curves(lines, steps)
    FigureCanvasAgg(figure)
    with whole_file(path) as part:
        figure.savefig(part, dpi=110, format="png")


def curves(lines: list[Line], steps: int) -> Figure:
    """PSNR of each check, the loss of the images, and how many pixels sigma covers, over the steps.

    Parameters
    ----------
    lines : list of dict
        Of the history.
    steps : int
        Where the part for the images ends.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(13, 4.4), layout="constrained")
    of_psnr, of_loss, of_share = figure.subplots(1, 3)
    of_images = [line for line in lines if line["step"] <= steps]
    _draw_each(of_psnr, lines, "psnr_db")
    shown = [line for line in of_images if line["loss"] is not None]
    of_loss.plot([p["step"] for p in shown], [p["loss"] for p in shown], color="0.3", marker=".", markersize=3)
    _draw_each(of_share, lines, "covered")
    of_share.axhspan(*_COVERED, color="0.92")
    of_psnr.set(ylabel="PSNR (dB)", title="images of the checks")
    of_loss.set(ylabel="mean of log10(MSE)", title="loss in training")
    of_share.set(ylabel="share of pixels", title="errors within 1 sigma")
    for axes in (of_psnr, of_loss, of_share):
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
    return figure


def _draw_each(axes: Any, lines: list[Line], key: str) -> None:
    checked = [line for line in lines if key in line]
    for name in checked[-1][key] if checked else ():
        values = [float("nan") if line[key].get(name) is None else line[key][name] for line in checked]
        axes.plot([line["step"] for line in checked], values, label=name, marker=".", markersize=3)
    if checked:
        axes.legend(fontsize=7)
    else:
        axes.text(0.5, 0.5, "not trained yet", transform=axes.transAxes, ha="center", color="0.5")


# ---------------------------------------------------------------- during training


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
    report: Callable[[str], None],
) -> None:
    """Score, write the files, and report.

    While the images are trained, weights are stored if the mean PSNR of the checks is the best so far; after that
    the last are: the learning rate has come down, and there is little to overfit.

    Parameters
    ----------
    state : TrainingState
    config : TrainingConfig
    out : Path
    checks, known : dict
        What to score with, and what the training shows (`describe_known_range`).
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
    of_images = state.step <= config.steps
    network = state.copy_average()
    found = {name: score_case(network, batches, with_sigma=not of_images, law=law) for name, batches in checks.items()}
    line["psnr_db"] = {name: round(one.psnr_db, 3) for name, one in found.items()}
    if not of_images:
        line["covered"] = {name: round(one.covered, 3) for name, one in found.items()}
        line["images_covered"] = {name: round(one.images_covered, 3) for name, one in found.items()}
    score = math.fsum(line["psnr_db"].values()) / len(found)
    best = not of_images or score > state.best
    if best:
        state.best = max(score, state.best)
    try:
        if best:
            write_weights(out, network, make_card(config, line, network, known, state.changes, law))
        lines = add_line(out / HISTORY, line)
        draw_curves(lines, out / CURVES, config.steps)
        state.save(out / CHECKPOINT, config)
    except (OSError, SafetensorError) as error:
        raise StorageError(f"files of the training cannot be written in {out} ({error})") from error
    report(_describe(line, score, config, left, kept=best and of_images))


def write_weights(out: Path, network: CHMWCNN, card: dict[str, Any]) -> None:
    """Weights, then the card beside them.

    Parameters
    ----------
    out : Path
        Folder.
    network : CHMWCNN
        Written in half precision.
    card : dict
        Plain values (`make_card`).
    """
    save_weights(out / WEIGHTS, network, card)
    write_card(out, card)


def _describe(line: dict[str, Any], score: float, config: TrainingConfig, left: float, *, kept: bool) -> str:
    loss = "no finite loss" if line["loss"] is None else f"loss {line['loss']:.4f}"
    covered = ""
    if "covered" in line:
        mean = math.fsum(line["covered"].values()) / len(line["covered"])
        covered = f", {mean:.0%} of the pixels within 1 sigma"
    more = f", {line['skipped']} steps left out" if "skipped" in line else ""
    text = f"step {line['step']} of {config.all_steps}: {loss}, PSNR {score:.2f} dB{', the best so far' * kept}"
    names = "; ".join(f"{name}: {value:.2f}" for name, value in line["psnr_db"].items())
    return f"{text}{covered}{more} ({names}); {format_time(line['seconds'])}, {format_time(left)} left"


def format_time(seconds: float) -> str:
    """Format seconds, such as "2 h 5 min"."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    return f"{minutes} min" if minutes < 90 else f"{minutes // 60} h {minutes % 60} min"
