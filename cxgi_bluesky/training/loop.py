"""The training: first the pictures, then, with the pictures as they are, how far each pixel may be off."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ..reconstruction.network import CHMWCNN
from ..reconstruction.weights_file import load_network, save_weights
from .checkpoint import TrainingState
from .config import TrainingConfig
from .curves import draw_curves
from .data import TrainingData, checks
from .losses import coverage, doubt_losses, picture_losses, psnr_db
from .measuring import Batch
from .model_card import card_of, write_card
from .processes import Processes, joined_processes

WEIGHTS, CHECKPOINT, HISTORY, CURVES = "ch_mwcnn.safetensors", "checkpoint.safetensors", "history.jsonl", "curves.png"
_LARGEST_GRADIENT = 1.0


def train(
    config: TrainingConfig, out: Path, *, threads: int = 1, report: Callable[[str], None] = print, stop_at: int = 0
) -> Path:
    """Train, or go on training, in folder `out`; returns the file of the weights.

    Under ``torchrun`` every process calls this alike and takes its share of each batch; the result is that of one
    process with the same batch, up to rounding. A restart goes on from the last check.

    Parameters
    ----------
    config : TrainingConfig
    out : Path
        Gets checkpoint, weights with model card, ``history.jsonl`` and ``curves.png``.
    threads : int
        Of each process.
    report : callable
        Gets a line of JSON at each check.
    stop_at : int
        Stop after this step, to go on another time; 0: at the end.

    Raises
    ------
    CxgiError
        If a checkpoint, the weights to start with, or the user's images cannot be used.
    """
    torch.set_num_threads(threads)
    with joined_processes() as processes:
        if not processes.is_first:
            processes.wait_for_first()  # it draws objects and boards for all
        data, checked = TrainingData.of(config), checks(config)
        if processes.is_first:
            out.mkdir(parents=True, exist_ok=True)
            processes.wait_for_first()
        state = begin(config, out)
        started, running, first = time.monotonic(), 0.0, state.step
        last = min(config.all_steps, stop_at or config.all_steps)
        while state.step < last:
            loss = one_step(state, data.batch(state.step), config, processes)
            running += (loss - running) * max(0.01, 1 / (state.step - first))
            if state.step % config.check_every and state.step not in (config.steps, last):
                continue
            if processes.is_first:
                line = {"step": state.step, "loss": round(running, 5), "seconds": round(time.monotonic() - started)}
                _check(state, config, out, checked, line)
                report(json.dumps(line))
            processes.wait_for_first()
            if state.step == config.steps:
                _take_best(state, out)
    return out / WEIGHTS


def begin(config: TrainingConfig, out: Path) -> TrainingState:
    """From the checkpoint, from given weights, or anew."""
    torch.manual_seed(config.seed)
    network = CHMWCNN(config.network)
    if config.start is not None:
        network.load_state_dict(load_network(config.start).network.state_dict())
    optimiser = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=config.weight_decay, betas=(0.9, 0.99))
    state = TrainingState(network, optimiser)
    if (out / CHECKPOINT).exists():
        state.restore(out / CHECKPOINT, config.to_dict())
    return state


def one_step(state: TrainingState, batch: Batch, config: TrainingConfig, processes: Processes) -> float:
    """One step of the optimiser on a batch; the mean loss."""
    pictures = state.step < config.steps
    network, optimiser = state.network, state.optimiser
    of_doubt = set(network.doubt.parameters())
    for parameter in network.parameters():
        parameter.requires_grad_((parameter in of_doubt) != pictures)
    trained = [p for p in network.parameters() if p.requires_grad]
    for group in optimiser.param_groups:
        group["lr"] = learning_rate(state.step, config)
    optimiser.zero_grad(set_to_none=True)
    share, loss = processes.share(batch), torch.zeros(())
    if share is not None:
        with torch.autocast("cpu", torch.bfloat16):
            losses = (picture_losses if pictures else doubt_losses)(network, share)
        loss = losses.sum() / len(batch.truth)
        loss.backward()
    loss = processes.add_up(loss.detach(), trained)
    norm = torch.nn.utils.clip_grad_norm_(trained, _LARGEST_GRADIENT)
    if bool(torch.isfinite(norm)):  # one bad batch must not end hours of training
        optimiser.step()
    state.step += 1
    state.update_average(config.average)
    return float(loss)


def learning_rate(step: int, config: TrainingConfig) -> float:
    """Linear warm-up, then cosine decay, for the pictures and then again for the uncertainty."""
    length = config.steps if step < config.steps else config.doubt_steps
    step = step if step < config.steps else step - config.steps
    if step < config.warm_up:
        return config.learning_rate * (step + 1) / config.warm_up
    progress = (step - config.warm_up) / max(1, length - config.warm_up)
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, progress)))
    return config.last_learning_rate + (config.learning_rate - config.last_learning_rate) * cosine


def _check(
    state: TrainingState, config: TrainingConfig, out: Path, checked: dict[str, list[Batch]], line: dict[str, Any]
) -> None:
    """Judge the averaged parameters on the fixed objects; keep them if they are the best; write all files."""
    network = state.averaged()
    pictures = state.step <= config.steps
    if pictures:
        line["psnr_db"] = {name: round(psnr_db(network, batches), 3) for name, batches in checked.items()}
        score = sum(line["psnr_db"].values()) / len(checked)
    else:
        found = {name: coverage(network, batches) for name, batches in checked.items()}
        line["covered"] = {name: round(share, 3) for name, (share, _) in found.items()}
        line["images_covered"] = {name: round(share, 3) for name, (_, share) in found.items()}
        score = state.step  # the last is taken: the learning rate has come down, and there is little to overfit
    if score > state.best or not pictures:
        state.best = score
        card = card_of(config, line, network)
        save_weights(out / WEIGHTS, network, card)
        write_card(out, card)
    with (out / HISTORY).open("a", encoding="utf-8") as history:
        history.write(json.dumps(line) + "\n")
    state.save(out / CHECKPOINT, config.to_dict())
    draw_curves(out / HISTORY, out / CURVES)


def _take_best(state: TrainingState, out: Path) -> None:
    """Go on with the weights that the checks have found best."""
    best = load_network(out / WEIGHTS).network.state_dict()
    state.network.load_state_dict(best)
    state.average = {name: value.detach().clone() for name, value in best.items()}
