"""Alignment: how a plate sits on its stage."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from .errors import CxgiError


@dataclass(frozen=True)
class Alignment:
    """How the plate sits on the stage: position of tile 0, rotation, scale, handedness.

    Attributes
    ----------
    x0_mm, y0_mm : float
        Stage position with tile 0 in the beam.
    rotation_deg : float
        Rotation of the plate's rows against the stage's x axis, counter-clockwise.
    scale : float
        Real tile pitch over nominal tile pitch.
    mirrored : bool
        True when the plate is mounted back to front (columns run towards -x).
    """

    x0_mm: float = 0.0
    y0_mm: float = 0.0
    rotation_deg: float = 0.0
    scale: float = 1.0
    mirrored: bool = False

    def __post_init__(self) -> None:
        if not all(math.isfinite(v) for v in (self.x0_mm, self.y0_mm, self.rotation_deg, self.scale)):
            raise CxgiError(f"alignment {self} has a value that is not finite")
        if not 0.5 < self.scale < 2:
            raise CxgiError(f"alignment scale {self.scale} is not near 1: it is real pitch over nominal pitch")

    @cached_property
    def matrix(self) -> NDArray[np.float64]:
        """Plate coordinates to stage coordinates, shape (2, 2)."""
        c, s = math.cos(math.radians(self.rotation_deg)), math.sin(math.radians(self.rotation_deg))
        flip = -1.0 if self.mirrored else 1.0
        return self.scale * np.array([[c, -s], [s, c]]) @ np.diag([flip, 1.0])
