"""State of a training on disk: tensors only, written whole or not at all."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from ..errors import CxgiError
from ..reconstruction.network import CHMWCNN


@dataclass(eq=False)
class TrainingState:
    """Everything that a restart goes on from.

    Attributes
    ----------
    network : CHMWCNN
    optimiser : torch.optim.AdamW
    average : dict
        Moving average of the parameters: what is checked and shipped.
    step : int
        Steps done.
    best : float
        Best check so far; its weights stand in the file of the weights.
    """

    network: CHMWCNN
    optimiser: torch.optim.AdamW
    average: dict[str, Tensor] = field(default_factory=dict)
    step: int = 0
    best: float = float("-inf")

    def update_average(self, decay: float) -> None:
        """Move towards the network's parameters, faster in the first steps."""
        decay = min(decay, (1 + self.step) / (10 + self.step))
        for name, value in self.network.state_dict().items():
            if name in self.average:
                self.average[name].lerp_(value.detach(), 1 - decay)
            else:
                self.average[name] = value.detach().clone()

    def averaged(self) -> CHMWCNN:
        """A network with the averaged parameters."""
        network = CHMWCNN(self.network.config)
        network.load_state_dict(self.average)
        return network.eval()

    def save(self, path: Path, config: dict[str, Any]) -> None:
        """Write to a safetensors file."""
        tensors = {f"network.{name}": value for name, value in self.network.state_dict().items()}
        tensors |= {f"average.{name}": value for name, value in self.average.items()}
        for number, moments in self.optimiser.state_dict()["state"].items():
            tensors |= {f"optimiser.{number}.{name}": torch.as_tensor(value) for name, value in moments.items()}
        words = {"step": str(self.step), "best": repr(self.best), "config": json.dumps(config)}
        new = path.with_suffix(".new")
        save_file({name: value.detach().clone().contiguous() for name, value in tensors.items()}, new, words)
        new.replace(path)

    def restore(self, path: Path, config: dict[str, Any]) -> None:
        """Go on from a file.

        Raises
        ------
        CxgiError
            If it cannot be read or was written by a training with another network.
        """
        try:
            with safe_open(path, framework="pt") as file:
                words = file.metadata() or {}
                names = file.keys()
                tensors = {name: file.get_tensor(name) for name in names}
            then = json.loads(words["config"])
            self.step, self.best = int(words["step"]), float(words["best"])
        except (OSError, SafetensorError, KeyError, ValueError) as error:
            raise CxgiError(f"checkpoint {path} cannot be read ({error}): remove it to begin anew") from error
        if then["network"] != config["network"]:
            raise CxgiError(f"checkpoint {path} is of another network ({then['network']}): train in another folder")
        self.network.load_state_dict(_under("network.", tensors))
        self.average = _under("average.", tensors)
        moments: dict[int, dict[str, Tensor]] = {}
        for name, value in _under("optimiser.", tensors).items():
            number, key = name.split(".", 1)
            moments.setdefault(int(number), {})[key] = value
        self.optimiser.load_state_dict({**self.optimiser.state_dict(), "state": moments})


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {name.removeprefix(prefix): value for name, value in tensors.items() if name.startswith(prefix)}
