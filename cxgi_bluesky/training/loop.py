"""The training: first of the images, then, with the images fixed, of the uncertainty of each pixel."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError

from ..errors import ConfigError, CxgiError, StorageError
from ..reconstruction.ch_mwcnn.layers import CPU
from ..reconstruction.ch_mwcnn.network import CHMWCNN
from ..reconstruction.ch_mwcnn.predict import torch_threads
from ..reconstruction.ch_mwcnn.sigma_calibration import SigmaLaw
from ..reconstruction.ch_mwcnn.weights import load_network, load_without_card
from .checkpoint import TrainingState, describe_changes
from .config import TrainingConfig
from .data import TrainingData
from .distributed import Processes, join_processes
from .losses import fit_law, image_losses, uncertainty_losses
from .measurements import Batch
from .model_card import WEIGHTS, describe_known_range, make_card, write_missing_card
from .validation import (
    CHECKPOINT,
    HISTORY,
    Checks,
    Line,
    check_and_write,
    format_time,
    make_checks,
    read_history,
    write_weights,
)

_MAX_GRADIENT = 1.0
_MAX_SKIPPED = 100  # steps after a check
_LAW_BATCHES, _LAW_IMAGES = 48, 16  # beyond those of the training, and at most so many images of each

Report = Callable[[str], None]


def train(
    config: TrainingConfig,
    out: Path,
    *,
    threads: int = 1,
    report: Report = print,
    stop_at: int = 0,
    on_step: Callable[[int], None] = lambda done: None,
) -> Path:
    """Train, or go on training, in folder `out`; returns the file of the weights.

    Under ``torchrun`` every process calls this alike and takes its share of each batch; the result is that of one
    process with the same batch, up to rounding. A restart goes on from the last check.

    Parameters
    ----------
    config : TrainingConfig
    out : Path
        Gets checkpoint, weights with model card, ``history.jsonl`` and ``curves.png``; all processes must see it.
    threads : int
        Of each process.
    report : callable
        Takes lines of text about the progress.
    stop_at : int
        Stop after this step, to go on another time; 0: at the end.
    on_step : callable, optional
        Takes the number of steps done: before the first one of this call, and after each.

    Raises
    ------
    CxgiError
        If a checkpoint, the weights to start with, the user's images or a folder cannot be used, or training diverges.
    """
    if threads < 1 or stop_at < 0:
        raise ConfigError(f"threads {threads}, stop_at {stop_at}: give at least 1 thread, and a step from 0 on")
    with torch_threads(threads), join_processes() as processes:
        device = find_device(config.device, processes.number)
        report = report if processes.is_first else lambda text: None
        processes.first(lambda: _prepare_folder(out))
        # it reads its files before hours of drawing
        state = processes.together(lambda: begin(config, out, report, device))
        data, checks, known = processes.first_then_others(lambda: _prepare(config, processes, device, report))
        processes.check_alike(f"{config.to_dict()} {state.step}", list(state.network.state_dict().values()))
        run = _Run(config, out, data, checks, known, processes, report, on_step)
        last = min(config.all_steps, stop_at or config.all_steps)
        report(data.describe())
        processes.first(lambda: _restore_weights(state, run))
        report(_beginning(state, run, last))
        _go_on(state, run, last)
    return out / WEIGHTS


@dataclass(frozen=True, eq=False)
class _Run:
    config: TrainingConfig
    out: Path
    data: TrainingData
    checks: Checks
    known: dict[str, Any]
    processes: Processes
    report: Report
    on_step: Callable[[int], None]


@dataclass
class _Losses:
    """Losses since the last check; those that are not finite belong to steps that were left out."""

    total: float = 0.0
    number: int = 0
    skipped: int = 0

    def add(self, loss: float) -> None:
        if math.isfinite(loss):
            self.total, self.number = self.total + loss, self.number + 1
        else:
            self.skipped += 1

    def in_line(self) -> dict[str, float | None]:
        """For the history: their mean."""
        loss = round(self.total / self.number, 5) if self.number else None
        return {"loss": loss, "skipped": self.skipped} if self.skipped else {"loss": loss}


def _prepare(
    config: TrainingConfig, processes: Processes, device: torch.device, report: Report
) -> tuple[TrainingData, Checks, dict[str, Any]]:
    """Draw objects and boards; only the first process gets the checks."""
    data = TrainingData.from_config(config, report, device)
    if not processes.is_first:
        return data, {}, {}
    return data, make_checks(config, report, device), describe_known_range(data)


def _go_on(state: TrainingState, run: _Run, last: int) -> None:
    """All steps up to `last`."""
    config, losses = run.config, _Losses()
    began, before, first = time.monotonic(), state.seconds, state.step
    run.on_step(first)
    while state.step < last:
        if state.step == config.steps:
            run.processes.together(lambda: _take_best(state, run.out))
        losses.add(one_step(state, run.data.batch(state.step), config, run.processes))
        run.on_step(state.step)
        if losses.skipped >= _MAX_SKIPPED and not losses.number:
            raise ConfigError(
                f"step {state.step}: the last {losses.skipped} losses are not finite: lower learning_rate"
            )
        if state.step % config.check_every and state.step not in (config.steps, last):
            continue
        state.seconds = before + time.monotonic() - began
        left = (state.seconds - before) / (state.step - first) * (config.all_steps - state.step)
        line = {"step": state.step, **losses.in_line(), "seconds": round(state.seconds)}
        run.processes.first(partial(_check, state, run, line, left))
        losses = _Losses()


def _check(state: TrainingState, run: _Run, line: Line, left: float) -> None:
    """Run the checks and write the files; at the very end with the law of sigma's scale."""
    law = _fit_law_at_end(state, run)
    check_and_write(state, run.config, run.out, run.checks, run.known, law, line, left, run.report)


def _fit_law_at_end(state: TrainingState, run: _Run) -> SigmaLaw | None:
    """Fit the law of sigma's scale, once the training is at its end."""
    config = run.config
    if not config.uncertainty_steps or state.step != config.all_steps:
        return None
    later = (run.data.batch(config.all_steps + i).part(slice(_LAW_IMAGES)) for i in range(_LAW_BATCHES))
    return fit_law(state.copy_average(), later)


def _restore_weights(state: TrainingState, run: _Run) -> None:
    """Write weights that are missing from the checkpoint, those of its step: the best ones may have been others."""
    if not state.step or (run.out / WEIGHTS).exists():
        return
    lines = [line for line in read_history(run.out / HISTORY) if line["step"] == state.step]
    line: Line = lines[-1] if lines else {"step": state.step}
    scores = list(line.get("psnr_db", {}).values())
    if state.step <= run.config.steps:
        state.best = math.fsum(scores) / len(scores) if scores else -math.inf
    network = state.copy_average()
    card = make_card(run.config, line, network, run.known, state.changes, _fit_law_at_end(state, run))
    try:
        write_weights(run.out, network, card)
    except (OSError, SafetensorError) as error:
        raise StorageError(f"weights cannot be written in {run.out} ({error})") from error
    run.report(f"NOTE: {run.out / WEIGHTS} is written again, of step {state.step}")


def find_device(wanted: str, processes: int = 1) -> torch.device:
    """The device of a training.

    Parameters
    ----------
    wanted : {"auto", "cpu", "cuda"}
    processes : int, optional
        How many take part; several share their work on processors alone.

    Raises
    ------
    CxgiError
        If there is no graphics card that torch can use, or several processes are to share one.
    """
    if wanted == "cpu" or (wanted == "auto" and (processes > 1 or not torch.cuda.is_available())):
        return CPU
    if not torch.cuda.is_available():
        raise ConfigError("device cuda: torch finds no graphics card here; use device: cpu, or auto")
    if processes > 1:
        raise ConfigError(f"device cuda: {processes} processes cannot share it; start one, or use device: cpu")
    return torch.device("cuda")


def begin(
    config: TrainingConfig, out: Path, report: Report = lambda text: None, device: torch.device = CPU
) -> TrainingState:
    """Begin from the checkpoint, from given weights, or anew; report what is missing beside the checkpoint.

    Parameters
    ----------
    config : TrainingConfig
    out : Path
        Folder of weights and checkpoint.
    note : callable, optional
        Takes a line of text (default: none).
    device : torch.device, optional
        Where the training goes on, whatever device it was on before (default: the processor).

    Raises
    ------
    CxgiError
        If the checkpoint or the weights cannot be used.
    """
    torch.manual_seed(config.seed)
    network = CHMWCNN(config.network).to(device)
    if device != CPU:  # the order of memory that its convolutions are written for
        for parameter in network.parameters():
            if parameter.ndim == 4:
                parameter.data = parameter.data.to(memory_format=torch.channels_last)
    optimiser = torch.optim.AdamW(
        network.parameters(), lr=1e-3, weight_decay=config.weight_decay, betas=(0.9, 0.99), fused=device != CPU
    )
    state = TrainingState(network, optimiser)
    if (out / CHECKPOINT).exists():
        if not (out / WEIGHTS).exists():
            report(f"NOTE: {out / WEIGHTS} is missing: it will be written again from the checkpoint")
        known = len(state.changes)
        state.restore(out / CHECKPOINT, config)
        for change in state.changes[known:]:
            if change["step"] == state.step:
                changes = describe_changes(change["changed"])
                report(f"NOTE: the configuration has changed since the checkpoint: {changes}")
    elif config.start is not None:
        given = load_network(config.start).network
        if given.config != config.network:
            raise ConfigError(f"start {config.start} is of another network ({given.config}): give its network: as well")
        network.load_state_dict(given.state_dict())
    return state


def one_step(state: TrainingState, batch: Batch, config: TrainingConfig, processes: Processes) -> float:
    """One step of the optimiser on a batch; the mean loss, not finite where the step was left out.

    Parameters
    ----------
    state : TrainingState
        Changed in place.
    batch : Batch
        Whole: each process takes its share.
    config : TrainingConfig
    processes : Processes
    """
    of_images = state.step < config.steps
    network, optimiser = state.network, state.optimiser
    of_uncertainty = {id(p) for p in network.doubt.parameters()}
    for parameter in network.parameters():
        parameter.requires_grad_((id(parameter) in of_uncertainty) != of_images)
    trained = [p for p in network.parameters() if p.requires_grad]
    for group in optimiser.param_groups:
        group["lr"] = learning_rate(state.step, config)
        group["weight_decay"] = config.weight_decay
    optimiser.zero_grad(set_to_none=True)
    share, loss = processes.share(batch), torch.zeros((), device=state.device)
    if share is not None:
        with torch.autocast(state.device.type, torch.bfloat16, enabled=config.bfloat16):
            losses = (image_losses if of_images else uncertainty_losses)(network, share)
        loss = losses.sum() / len(batch.truth)
        loss.backward()
    loss = processes.add_up(loss.detach(), trained)
    norm = torch.nn.utils.clip_grad_norm_(trained, _MAX_GRADIENT)
    usable = bool(torch.isfinite(norm)) and bool(torch.isfinite(loss))
    if usable:  # one bad batch must not end hours of training
        optimiser.step()
    state.step += 1
    state.update_average(config.average, state.step if of_images else state.step - config.steps)
    return float(loss) if usable else math.nan


def learning_rate(step: int, config: TrainingConfig) -> float:
    """Linear warm-up, a plateau, then cosine decay; for the images, and then again for the uncertainty.

    Parameters
    ----------
    step : int
        Steps done.
    config : TrainingConfig
    """
    length = config.steps if step < config.steps else config.uncertainty_steps
    step = step if step < config.steps else step - config.steps
    if step < config.warm_up:
        return config.learning_rate * (step + 1) / config.warm_up
    decay = max(1.0, config.decay * (length - config.warm_up))
    progress = (step - length + decay) / decay
    cosine = 0.5 * (1 + math.cos(math.pi * min(1.0, max(0.0, progress))))
    return config.last_learning_rate + (config.learning_rate - config.last_learning_rate) * cosine


def _take_best(state: TrainingState, out: Path) -> None:
    """Continue with the weights of the best check."""
    state.replace_weights(load_without_card(out / WEIGHTS).network)


def _prepare_folder(out: Path) -> None:
    """Make it, or see to it that its files belong together."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        if (out / WEIGHTS).exists():
            _check_weights(out)
    except OSError as error:
        raise StorageError(f"folder {out} cannot be made or written in ({error}): choose another --out") from error


def _check_weights(out: Path) -> None:
    """Refuse weights without their checkpoint, which would be overwritten; write the card that they lack."""
    if not (out / CHECKPOINT).exists():
        raise ConfigError(
            f"{out / WEIGHTS} is of another training, its {CHECKPOINT} is gone: a new one would overwrite it; bring "
            "the checkpoint back, or choose another --out"
        )
    try:
        write_missing_card(out)
    except CxgiError as error:
        raise ConfigError(f"{error}; or take the file away, and it is written again from the checkpoint") from error


def _beginning(state: TrainingState, run: _Run, last: int) -> str:
    config, number = run.config, run.processes.number
    if state.step >= last:
        return f"nothing to do: step {state.step} of {config.all_steps} is done; files in {run.out}"
    where = f"goes on at step {state.step} after {format_time(state.seconds)}" if state.step else "begins"
    goal = f"to step {last} of {config.all_steps}" if last < config.all_steps else f"to step {last}"
    parameters = sum(p.numel() for p in state.network.parameters())
    several = "1 process" if number == 1 else f"{number} processes"
    return f"{where}, {goal}: {parameters} parameters, {several}; files in {run.out}"
