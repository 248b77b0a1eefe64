"""The source: size of its spot, how evenly it lights the field, and its slow drift."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from ..errors import ConfigError

DRIFT_EXPOSURES = 200.0
SHAPES = ("gaussian", "uniform")


@dataclass(frozen=True)
class Source:
    """Spot and illumination; 0 (or None, False) switches each off.

    Attributes
    ----------
    fwhm_x_um, fwhm_y_um : float
        Size of the spot: full width at half maximum of its intensity along each axis. The paper gives
        30 x 37 um, by a knife edge.
    shape : {"gaussian", "uniform"}
        Profile along each axis; uniform is a box of that width.
    gradient_x, gradient_y : float
        Relative change of the intensity from one side of the field to the other (the heel of a tube).
    cos4 : bool
        The fall of a flat source's light with the angle, cos(angle)^4.
    illumination : ndarray, shape (rows, columns), optional
        Measured intensity over the field, in any unit; interpolated, continued beyond its rim.
    veil : float
        Share of the open signal that reaches the diode past mask and object, unmodulated.

    Raises
    ------
    CxgiError
        For an impossible value.
    """

    fwhm_x_um: float = 30.0
    fwhm_y_um: float = 37.0
    shape: str = "gaussian"
    gradient_x: float = 0.0
    gradient_y: float = 0.0
    cos4: bool = False
    illumination: NDArray[np.floating] | None = field(default=None, compare=False)
    veil: float = 0.0

    def __post_init__(self) -> None:
        for name in ("fwhm_x_um", "fwhm_y_um"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ConfigError(f"{name} {getattr(self, name)} of the source: give um, 0 for a point")
        if self.shape not in SHAPES:
            raise ConfigError(f"shape {self.shape!r} of the source is unknown: choose one of {', '.join(SHAPES)}")
        if not abs(self.gradient_x) + abs(self.gradient_y) < 2:
            raise ConfigError(
                f"gradients {self.gradient_x}, {self.gradient_y}: the light would be negative in a corner"
            )
        if not 0 <= self.veil < 1:
            raise ConfigError(f"veil {self.veil} is outside 0 <= veil < 1: it is a share of the open signal")
        light = self.illumination
        if light is not None and not (
            np.ndim(light) == 2 and min(np.shape(light)) > 1 and np.isfinite(light).all() and (light >= 0).all()
        ):
            raise ConfigError("illumination must be a map of two axes, 2 x 2 or more, finite and 0 or more")

    def fwhm_um(self, axis: str) -> float:
        """Size of the spot along "x" or "y"."""
        return float(getattr(self, f"fwhm_{axis}_um"))


POINT_SOURCE = Source(fwhm_x_um=0.0, fwhm_y_um=0.0)


def intensity_map(source: Source, cells: int, field_um: float, distance_um: float) -> NDArray[np.float32]:
    """Relative intensity over the field, shape (cells, cells), mean 1.

    Parameters
    ----------
    source : Source
    cells : int
    field_um : float
        Side of the field at the distance from the source.
    distance_um : float

    Raises
    ------
    CxgiError
        If a measured illumination is dark everywhere.
    """
    share = (np.arange(cells) + 0.5) / cells - 0.5
    y, x = np.meshgrid(share, share, indexing="ij")
    light = 1 + source.gradient_x * x + source.gradient_y * y
    if source.cos4:
        light *= (1 + (x**2 + y**2) * (field_um / distance_um) ** 2) ** -2.0
    if source.illumination is not None:
        light *= _resample(np.asarray(source.illumination, dtype=np.float64), cells)
    if not light.mean() > 0:
        raise ConfigError("the illumination is dark everywhere: give a map with light in it")
    return (light / light.mean()).astype(np.float32)


def _resample(light: NDArray[np.float64], cells: int) -> NDArray[np.float64]:
    """The map on another number of cells, linearly between the centres of its own."""
    from scipy.ndimage import map_coordinates

    rows, columns = ((np.arange(cells) + 0.5) * side / cells - 0.5 for side in light.shape)
    return map_coordinates(light, np.meshgrid(rows, columns, indexing="ij"), order=1, mode="nearest")


def intensity_drift(rng: np.random.Generator, rms: float, tau: float = DRIFT_EXPOSURES) -> Iterator[float]:
    """Relative intensity 1 + d_k exposure after exposure; d_k is AR(1).

    Parameters
    ----------
    rng : numpy.random.Generator
    rms : float
        Of d_k.
    tau : float, optional
        Memory in exposures; 200 by default.

    Yields
    ------
    float
        Without end.
    """
    memory = math.exp(-1 / tau)
    deviation = rms * rng.normal()
    while True:
        yield 1 + deviation
        deviation = memory * deviation + rms * math.sqrt(1 - memory**2) * rng.normal()
