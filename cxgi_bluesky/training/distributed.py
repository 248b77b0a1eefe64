"""One process, or several under ``torchrun``: each takes its share of every batch, the gradients are added up.

Whatever one process cannot do ends all of them with its message: work that may fail is done through `first`,
`first_then_others` or `together`, after which they ask each other. A process that dies closes its connections, which
the others notice at their next exchange.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, TypeVar

import torch
import torch.distributed
from torch import Tensor, nn

from ..errors import ConfigError, CxgiError
from .measurements import Batch

T = TypeVar("T")

_MAX_STEP = timedelta(minutes=30)
_MAX_WORK = timedelta(days=2)  # drawing hundreds of boards on one core
_VARIABLES = ("RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")


@dataclass(frozen=True)
class Processes:
    """This process among all."""

    rank: int = 0
    number: int = 1
    steps: Any = None  # group of processes whose exchanges must not last long

    @property
    def is_first(self) -> bool:
        """Whether this one writes the files."""
        return self.rank == 0

    def share(self, batch: Batch) -> Batch | None:
        """This process's images of a batch, None if there are none for it."""
        count = len(batch.truth)
        rows = slice(count * self.rank // self.number, count * (self.rank + 1) // self.number)
        return batch.part(rows) if rows.stop > rows.start else None

    def add_up(self, loss: Tensor, parameters: list[nn.Parameter]) -> Tensor:
        """Sum the gradients, in place, and the loss over all processes.

        A parameter that no process has a gradient of stays without: the optimiser leaves it alone.

        Parameters
        ----------
        loss : Tensor
            Of this process, one number.
        parameters : list of nn.Parameter
            The same in all processes; their `grad` is replaced by the sum.

        Returns
        -------
        Tensor
            Sum of the losses, one number.
        """
        if self.number == 1:
            return loss
        has = torch.tensor([float(p.grad is not None) for p in parameters])
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flat = torch.cat([loss.reshape(1), has, *(g.flatten() for g in gradients)])
        with _connect():
            torch.distributed.all_reduce(flat, group=self.steps)
        parts = flat[1 + len(parameters) :].split([p.numel() for p in parameters])
        for parameter, part, holders in zip(parameters, parts, flat[1 : 1 + len(parameters)].tolist(), strict=True):
            parameter.grad = part.reshape(parameter.shape).clone() if holders else None
        return flat[0]

    # ------------------------------------------------------------ work that may fail

    def first(self, work: Callable[[], None]) -> None:
        """Let the first process do something while the others wait."""
        self.together(work if self.is_first else lambda: None)

    def first_then_others(self, work: Callable[[], T]) -> T:
        """Let the first process do something, then the others the same, which finds files that it has left."""
        if self.is_first:
            made = self.together(work)
            self.together(lambda: None)
            return made
        self.together(lambda: None)
        return self.together(work)

    def together(self, work: Callable[[], T]) -> T:
        """Let every process do something, and go on when all have done it.

        Raises
        ------
        CxgiError
            In all processes if one cannot do it, with that one's message.
        """
        if self.number == 1:
            return work()
        try:
            made = work()
        except CxgiError as error:
            self._share_failure(str(error))
            raise
        self._share_failure("")
        return made

    def _share_failure(self, reason: str) -> None:
        """Send the others the reason why this process cannot go on, "" if it can; raise if another one cannot."""
        own = reason.encode()
        lengths = [torch.zeros(1, dtype=torch.int64) for _ in range(self.number)]
        with _connect():
            torch.distributed.all_gather(lengths, torch.tensor([len(own)]))
            failed = [rank for rank, length in enumerate(lengths) if int(length)]
            if not failed:
                return
            message = torch.zeros(int(lengths[failed[0]]), dtype=torch.uint8)
            if self.rank == failed[0]:
                message = torch.tensor(list(own), dtype=torch.uint8)
            torch.distributed.broadcast(message, failed[0])
        if not own:
            raise ConfigError(f"process {failed[0]}: {bytes(message.tolist()).decode()}")

    def check_alike(self, text: str, tensors: list[Tensor]) -> None:
        """Raise `CxgiError` unless all processes hold the same: what they do not share would drift apart unseen.

        Parameters
        ----------
        text : str
            Configuration and step.
        tensors : list of Tensor
            Of the network.
        """
        if self.number == 1:
            return
        digest = hashlib.sha256(text.encode())
        for tensor in tensors:
            digest.update(tensor.detach().cpu().numpy().tobytes())
        own = torch.tensor(list(digest.digest()), dtype=torch.uint8)
        all_of_them = [torch.zeros_like(own) for _ in range(self.number)]
        with _connect():
            torch.distributed.all_gather(all_of_them, own)
        if any(not torch.equal(own, other) for other in all_of_them):
            raise ConfigError(
                "the processes begin differently: give all the same configuration, and an --out folder that all see"
            )


def is_first_process() -> bool:
    """Whether this is the first of those that ``torchrun`` has started, or the only one."""
    return not _is_one_of_several() or os.environ["RANK"] == "0"


@contextmanager
def join_processes() -> Iterator[Processes]:
    """Join the processes that ``torchrun`` has started, or be this one alone."""
    if not _is_one_of_several():
        yield Processes()
        return
    with _connect():
        torch.distributed.init_process_group("gloo", timeout=_MAX_WORK)
        steps = torch.distributed.new_group(timeout=_MAX_STEP)
    try:
        yield Processes(torch.distributed.get_rank(), torch.distributed.get_world_size(), steps)
    finally:
        torch.distributed.destroy_process_group()


def _is_one_of_several() -> bool:
    return all(name in os.environ for name in _VARIABLES) and int(os.environ["WORLD_SIZE"]) > 1


@contextmanager
def _connect() -> Iterator[None]:
    try:
        yield
    except RuntimeError as error:
        reason = str(error).splitlines()[0]
        raise ConfigError(f"another process of this training has ended, see its own message ({reason})") from error
