"""How a tile comes out of the etching bath: rounded corners, sloped walls, over- and under-etching.

The forward model of the relative metal thickness t of a tile, a function of the position on it:

    s = sigma_r * Phi^-1(gaussian_{sigma_r} * P)      a smooth signed distance to the design's edges
    etched = 1 where s + delta > 0, else 0            delta: over-etching, drawn anew for each tile
    t = gaussian_side * (1 - etched) * (1 + eps)

`drawing` turns it into numbers. The values of `COPPER_DEFECTS` and `GOLD_DEFECTS` were chosen by hand until
the contrast that the paper reports came out, with all other parameters of `simulation_parameters`:

- copper, stencil CAS, 1024 exposures: GI 1.57 and TVAL3 1.78 in the mean of six boards (1.51 to 1.69 and 1.69 to
  2.00) against the paper's 1.49 and 1.75; the CNR of GI is highest near 400 exposures in cake-cutting order
  (2.5), where the paper has its peak near 300 (Fig. 2j). `offset_rms_um` alone was fitted for that.
- gold, gold object, 768 exposures: TVAL3 0.29 in the mean of three boards (0.27 to 0.30) against 0.27 (Fig. 4d).

They show that such defects suffice to explain it, not that they are its cause.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields, replace
from typing import Any

from ...errors import ConfigError


@dataclass(frozen=True)
class Defects:
    """Size of each defect (um, thickness relative); 0 switches it off and leaves the others as they are.

    Attributes
    ----------
    corner_um, side_wall_um : float
        Radius of the rounding (sigma_r), and rms width of the walls' slope. Walls steeper than a fortieth of
        a mask pixel are drawn upright.
    offset_um, offset_rms_um, offset_field_um : float
        Over-etching: common to all tiles, its spread from tile to tile, and its spread over a tile
        (correlated over a quarter of the tile).
    thickness_rms : float
        Spread of the metal's thickness from tile to tile.
    seed : int
        Of the board: the same seed is the same board.

    Raises
    ------
    CxgiError
        For a value that is not finite, or a negative size.
    """

    corner_um: float = 0.0
    side_wall_um: float = 0.0
    offset_um: float = 0.0
    offset_rms_um: float = 0.0
    offset_field_um: float = 0.0
    thickness_rms: float = 0.0
    seed: int = 0

    def __post_init__(self) -> None:
        for name in DEFECT_NAMES:
            value = getattr(self, name)
            if not math.isfinite(value) or (value < 0 and name != "offset_um"):
                raise ConfigError(f"defect {name} {value}: give a finite size, and none below 0 (offset_um apart)")
        if self.seed < 0:
            raise ConfigError(f"seed {self.seed} of a board: give a whole number from 0 on")

    def without(self, *names: str) -> Defects:
        """The same board with some defects mended, such as ``without("corner_um")``."""
        mended: dict[str, Any] = {_check_name(name): 0.0 for name in names}
        return replace(self, **mended)

    def only(self, *names: str) -> Defects:
        """The same board with all other defects mended."""
        kept = {_check_name(name) for name in names}
        return self.without(*(name for name in DEFECT_NAMES if name not in kept))

    @property
    def reach_um(self) -> float:
        """Distance beyond which practically no edge is moved."""
        return abs(self.offset_um) + 4 * (self.offset_rms_um + self.offset_field_um)


DEFECT_NAMES = tuple(f.name for f in fields(Defects) if f.name != "seed")


def _check_name(name: str) -> str:
    if name not in DEFECT_NAMES:
        raise ConfigError(f"defect {name!r} is unknown: choose of {', '.join(DEFECT_NAMES)}")
    return name


COPPER_DEFECTS = Defects(40.0, 15.0, 10.0, 3.5, 5.0, 0.02)
GOLD_DEFECTS = Defects(2.0, 2.0, 0.0, 0.8, 0.8, 0.02)
