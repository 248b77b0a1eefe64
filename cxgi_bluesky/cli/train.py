"""``cxgi train``: train the network of ch-mwcnn, or go on training it."""

from __future__ import annotations

import argparse
import sys
from importlib import resources
from pathlib import Path
from typing import Any

from ..errors import ConfigError
from ._options import Commands, Echo, Payload, add_command


def add(commands: Commands) -> None:
    """Add the command's grammar."""
    parser = add_command(
        commands,
        "train",
        train,
        examples=[
            "cxgi train --example > config.yml  # every key with its default: change what you want",
            "cxgi train config.yml --out trained  # begin, or go on after an interruption",
        ],
        data=False,
    )
    parser.add_argument("config", metavar="CONFIG.yml", help="what to train on and how (--example shows every key)")
    parser.add_argument("--out", metavar="DIR", required=True, help="folder of weights, card, curves and checkpoint")
    parser.add_argument("--threads", type=int, default=1, help="of each process (default: %(default)s)")
    parser.add_argument(
        "--stop-at", type=int, default=0, metavar="STEP", help="stop after this step, to go on another time"
    )
    parser.add_argument("--example", action=_Example, help="print every key with its default, and exit")


class _Example(argparse.Action):
    def __init__(self, option_strings: list[str], dest: str, help: str | None = None) -> None:
        super().__init__(option_strings, argparse.SUPPRESS, nargs=0, help=help)

    def __call__(self, parser: argparse.ArgumentParser, *_: Any) -> None:
        print(resources.files("cxgi_bluesky").joinpath("training", "example.yml").read_text(encoding="utf-8"), end="")
        parser.exit()


def train(options: argparse.Namespace, echo: Echo) -> Payload:
    """Train the network of ch-mwcnn, or continue from the checkpoint of a folder.

    Parameters
    ----------
    options : argparse.Namespace
        `config`, `out`, `threads` and `stop_at` (step; 0: train to the end).
    echo : callable
        Takes a line of text for the user.

    Returns
    -------
    dict
        Step reached, last check and files, for ``--json``.
    """
    if options.threads < 1:
        raise ConfigError(f"--threads {options.threads}: give at least 1")
    if options.stop_at < 0:
        raise ConfigError(f"--stop-at {options.stop_at}: give a step, or leave it out to train to the end")
    from ..training.config import read_config
    from ..training.distributed import is_first_process
    from ..training.loop import train as train_network
    from ..training.model_card import CARD
    from ..training.validation import CHECKPOINT, CURVES, HISTORY, read_history

    config, out = read_config(options.config), Path(options.out)
    with echo.working("training", total=min(config.all_steps, options.stop_at or config.all_steps)) as step:
        weights = train_network(
            config,
            out,
            threads=options.threads,
            report=lambda text: _report(text, echo),
            stop_at=options.stop_at,
            on_step=step.reach,
        )
    if not is_first_process():
        sys.exit(0)  # the first one reports for all
    history = read_history(out / HISTORY)
    last = history[-1] if history else {}
    files = {"weights": weights, "card": out / CARD, "curves": out / CURVES, "history": out / HISTORY}
    echo(f"weights -> {weights}")
    return {
        "step": last.get("step", 0),
        "steps": config.all_steps,
        "finished": last.get("step", 0) >= config.all_steps,
        "check": last,
        "files": {name: str(path) for name, path in {**files, "checkpoint": out / CHECKPOINT}.items()},
    }


def _report(text: str, echo: Echo) -> None:
    """Print a line about the progress; beside JSON on stderr."""
    if echo.quiet and not text.startswith("NOTE"):
        return
    if echo.json:
        print(text, file=sys.stderr, flush=True)
    else:
        echo(text)
