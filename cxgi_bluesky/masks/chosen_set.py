"""Patterns that are chosen while they are measured: a start set, then batches by a rule, up to a number of patterns."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError
from .pattern_set import PatternSet, whole_number

CHOSEN = "chosen"  # the order of such a set


@dataclass(frozen=True)
class ChosenSet:
    """How the patterns of a scan are chosen; which ones they are is known from its events alone.

    Parameters
    ----------
    start : PatternSet
        Measured first, whatever the object.
    count : int
        Patterns in all, at most; more than the start set has.
    rule : str
        Name of the rule that chooses the others (`reconstruction.planning.choose.RULES`).
    batch : int
        Patterns that are chosen at a time.
    seed : int
        Of the rule's draws.

    Raises
    ------
    CxgiError
        For impossible numbers.
    """

    start: PatternSet
    count: int
    rule: str
    batch: int
    seed: int = 0
    basis: str = "hadamard"
    order: str = CHOSEN

    def __post_init__(self) -> None:
        for name in ("count", "batch", "seed"):
            object.__setattr__(self, name, whole_number(name, getattr(self, name)))
        if not self.start.count < self.count <= self.size**2:
            raise ConfigError(
                f"count {self.count} of chosen patterns is outside {self.start.count + 1}..{self.size**2}: the start "
                f"set has {self.start.count} of {self.size**2}"
            )
        if self.batch < 1 or self.seed < 0:
            raise ConfigError(f"batch {self.batch}, seed {self.seed}: give 1 or more, and 0 or more")

    @property
    def size(self) -> int:
        """Pixels per side n."""
        return self.start.size

    @property
    def fraction(self) -> float:
        """Sampling fraction M / N, at most."""
        return self.count / self.size**2

    @property
    def pattern_index(self) -> NDArray[np.int64]:
        """The patterns that are known before the scan: those of the start set."""
        return self.start.pattern_index

    @property
    def sha256(self) -> str:
        """Digest of the parameters, the start set's patterns among them."""
        return hashlib.sha256(json.dumps(self._parameters(), sort_keys=True).encode()).hexdigest()

    def _parameters(self) -> dict[str, Any]:
        return {
            "basis": self.basis,
            "size": self.size,
            "order": self.order,
            "seed": self.seed,
            "count": self.count,
            "rule": self.rule,
            "batch": self.batch,
            "start": self.start.to_dict(),
        }

    def to_dict(self) -> dict[str, Any]:
        """The parameters and their digest, as written into the start document of a run."""
        return {**self._parameters(), "sha256": self.sha256}

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> ChosenSet:
        """Rebuild a set from `to_dict`; a digest that does not match is an error."""
        try:
            start = PatternSet.from_dict(data["start"])
            made = cls(start, data["count"], str(data["rule"]), data["batch"], data["seed"])
        except (KeyError, TypeError) as error:
            raise ConfigError(f"pattern set {data!r} lacks start, count, rule, batch or seed ({error})") from error
        if data.get("sha256", made.sha256) != made.sha256:
            raise ConfigError(f"pattern set {made} is not the one that was stored: use the release that wrote it")
        return made


def hadamard_set(data: Mapping[str, Any]) -> PatternSet | ChosenSet:
    """The Hadamard patterns that a start document names: a fixed set, or how they were chosen.

    Parameters
    ----------
    data : mapping
        ``cxgi.pattern_set``.

    Raises
    ------
    CxgiError
        If it is malformed.
    """
    return ChosenSet.from_dict(data) if data.get("order") == CHOSEN else PatternSet.from_dict(dict(data))
