"""State of a training on disk: tensors only, written whole or not at all."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from ..errors import CxgiError, StorageError
from ..reconstruction.ch_mwcnn.network import CHMWCNN, NetworkConfig
from ..reconstruction.ch_mwcnn.weights import write_tensors
from .config import TrainingConfig, differing, rename_old_keys
from .data import digest_of_own_images

Change = dict[str, Any]
_MAX_REASON = 200  # characters
_OF_THE_STEPS = {
    *("steps", "uncertainty_steps", "batch", "learning_rate", "last_learning_rate", "warm_up", "decay"),
    *("weight_decay", "average", "bfloat16", "check_every"),
}  # keys that leave the checks as they are


@dataclass(eq=False)
class TrainingState:
    """Everything that a restart continues from.

    Attributes
    ----------
    network : CHMWCNN
    optimiser : torch.optim.AdamW
    average : dict
        Moving average of the parameters: what is checked and shipped.
    step : int
        Steps done.
    best : float
        Best check so far; its weights are in the file of the weights.
    seconds : float
        Spent on the steps so far.
    changes : list of dict
        Where a restart brought another configuration: the step, and each key with both values.
    """

    network: CHMWCNN
    optimiser: torch.optim.AdamW
    average: dict[str, Tensor] = field(default_factory=dict)
    step: int = 0
    best: float = float("-inf")
    seconds: float = 0.0
    changes: list[Change] = field(default_factory=list)

    def update_average(self, decay: float, steps: int) -> None:
        """Move towards the network's parameters, faster in the first steps.

        Parameters
        ----------
        decay : float
            Largest share that stays, 0 <= decay < 1.
        steps : int
            Steps since the training of these parameters began.
        """
        decay = min(decay, (1 + steps) / (10 + steps))
        now = {name: value.detach() for name, value in self.network.state_dict().items()}
        if not self.average:
            self.average = {name: value.clone() for name, value in now.items()}
        torch._foreach_lerp_([self.average[name] for name in now], list(now.values()), 1 - decay)

    def copy_average(self) -> CHMWCNN:
        """Make a network with the averaged parameters."""
        network = CHMWCNN(self.network.config).to(self.device)
        network.load_state_dict(self.average)
        return network.eval()

    @property
    def device(self) -> torch.device:
        """Where the parameters are."""
        return next(self.network.parameters()).device

    def replace_weights(self, network: CHMWCNN) -> None:
        """Continue with the weights of another network."""
        best = network.state_dict()
        self.network.load_state_dict(best)
        self.average = self._like_network(best)

    def _like_network(self, values: dict[str, Tensor]) -> dict[str, Tensor]:
        """Copies on the network's device and in its order of memory."""
        own = self.network.state_dict()
        return {name: torch.empty_like(own[name]).copy_(value) for name, value in values.items()}

    def save(self, path: Path, config: TrainingConfig) -> None:
        """Write to a safetensors file.

        Parameters
        ----------
        path : Path
            File of the checkpoint.
        config : TrainingConfig
            Of this training, stored in the file.
        """
        tensors = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        tensors |= {f"average.{name}": value for name, value in self.average.items()}
        for number, moments in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{number}.{name}": torch.as_tensor(value) for name, value in moments.items()}
        metadata = {
            "step": str(self.step),
            "best": repr(self.best),
            "seconds": repr(self.seconds),
            "changes": json.dumps(self.changes),
            "config": json.dumps(config.to_dict()),
            "own_images": digest_of_own_images(config.objects.folder),
        }
        write_tensors(
            path, {name: value.detach().cpu().clone().contiguous() for name, value in tensors.items()}, metadata
        )

    def restore(self, path: Path, config: TrainingConfig) -> None:
        """Continue from a file; `changes` gets what has changed in the configuration since.

        Parameters
        ----------
        path : Path
            File of the checkpoint.
        config : TrainingConfig
            To go on with.

        Raises
        ------
        CxgiError
            If it cannot be read, or was written by a training that this configuration cannot go on with.
        """
        metadata, tensors = _read(path)
        try:
            stored = rename_old_keys(json.loads(metadata["config"]))
            then = TrainingConfig().to_dict() | stored  # a key that came later has its default
            then["network"] = NetworkConfig.from_dict(then["network"]).to_dict()
            then = json.loads(json.dumps(then))
            self.step, self.best = int(metadata["step"]), float(metadata["best"])
            self.seconds = float(metadata.get("seconds", "0"))
            self.changes = json.loads(metadata.get("changes", "[]"))
            changed = differing(then, config.to_dict()) | _other_images(metadata, config)
            _check_can_go_on(path, self.step, then, config, changed)
            self.network.load_state_dict(_under("network.", tensors))
            self.average = self._like_network(_under("average.", tensors))
            self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": _moments(tensors)})
            for parameter, moments in self.optimiser.state.items():
                for name in ("exp_avg", "exp_avg_sq"):
                    moments[name] = torch.empty_like(parameter).copy_(moments[name])
        except CxgiError:
            raise
        except (KeyError, ValueError, TypeError, AttributeError, RuntimeError) as error:
            raise _unreadable(path, error) from error
        if changed.keys() - _OF_THE_STEPS:
            self.best = float("-inf")  # of other checks: whatever comes next is the best of these
        if changed:
            self.changes.append({"step": self.step, "changed": {key: list(values) for key, values in changed.items()}})


def _other_images(metadata: dict[str, str], config: TrainingConfig) -> dict[str, tuple[Any, Any]]:
    """The user's folder, if it holds other images than before; which folder it is stays out of all files."""
    before, now = metadata.get("own_images"), digest_of_own_images(config.objects.folder)
    if not before or not now or before == now:
        return {}
    return {"objects.folder": ("the user's own images", "other images of the user's own")}


def _read(path: Path) -> tuple[dict[str, str], dict[str, Tensor]]:
    try:
        with safe_open(path, framework="pt") as file:
            names = file.keys()
            return file.metadata() or {}, {name: file.get_tensor(name) for name in names}
    except (OSError, SafetensorError) as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> CxgiError:
    reason = " ".join(str(error).split())
    short = reason if len(reason) < _MAX_REASON else f"{reason[:_MAX_REASON]} ..."
    return StorageError(
        f"checkpoint {path} cannot be read ({short}): bring back a whole one, or train in another folder"
    )


def _check_can_go_on(
    path: Path, step: int, then: dict[str, Any], config: TrainingConfig, changed: dict[str, tuple[Any, Any]]
) -> None:
    """Another network cannot; nor can another number of steps for the images once they are over."""
    of_network = {key: values for key, values in changed.items() if key.startswith("network.")}
    if of_network:
        raise StorageError(
            f"checkpoint {path} is of another network ({describe_changes(of_network)}): train in another folder"
        )
    if "steps" in changed and step >= min(then["steps"], config.steps):
        raise StorageError(
            f"checkpoint {path} is at step {step}, and steps is now {config.steps}, was {then['steps']}: the part for "
            "the images is over; give the old number, or train in another folder with these weights as start"
        )


def describe_changes(changed: dict[str, Any]) -> str:
    """Such as "noise.drift 0.003 -> 0.01, seed 1 -> 2"."""
    return ", ".join(f"{key} {old} -> {new}" for key, (old, new) in changed.items())


def _moments(tensors: dict[str, Tensor]) -> dict[int, dict[str, Tensor]]:
    moments: dict[int, dict[str, Tensor]] = {}
    for name, value in _under("optimiser.", tensors).items():
        number, key = name.split(".", 1)
        moments.setdefault(int(number), {})[key] = value
    return moments


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
