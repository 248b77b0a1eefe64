"""One process, or several under `torchrun`: each takes its share of every batch, the gradients are added up."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.distributed
from torch import Tensor, nn

from .measuring import Batch


@dataclass(frozen=True)
class Processes:
    """This process's place among all."""

    rank: int = 0
    number: int = 1

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
        """Sum the gradients, in place, and the loss over all processes."""
        if self.number == 1:
            return loss
        gradients = [torch.zeros_like(p) if p.grad is None else p.grad for p in parameters]
        flat = torch.cat([loss.reshape(1), *(g.flatten() for g in gradients)])
        torch.distributed.all_reduce(flat)
        start = 1
        for parameter in parameters:
            parameter.grad = flat[start : start + parameter.numel()].reshape(parameter.shape).clone()
            start += parameter.numel()
        return flat[0]

    def wait_for_first(self) -> None:
        """Until the first process has come as far."""
        if self.number > 1:
            torch.distributed.barrier()


@contextmanager
def joined_processes() -> Iterator[Processes]:
    """The processes that `torchrun` has started, or this one alone."""
    if "TORCHELASTIC_RUN_ID" not in os.environ or int(os.environ.get("WORLD_SIZE", "1")) == 1:
        yield Processes()
        return
    torch.distributed.init_process_group("gloo")
    try:
        yield Processes(torch.distributed.get_rank(), torch.distributed.get_world_size())
    finally:
        torch.distributed.destroy_process_group()
