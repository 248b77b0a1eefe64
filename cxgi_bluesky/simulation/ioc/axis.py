"""A motor and what it carries: where its readback is, and where it really is."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

MIN_RAMP_S = 1e-6
Follow = Callable[[float, bool], None]  # true position (mm), and whether the motor has arrived there


@dataclass(frozen=True)
class Ramp:
    """A move with constant acceleration, then constant velocity, then the same to a stop.

    Attributes
    ----------
    distance : float
        To go, not negative.
    velocity : float
        Largest speed (per s).
    ramp_s : float
        Time to reach it; 0 or at least `MIN_RAMP_S`.
    """

    distance: float
    velocity: float
    ramp_s: float

    @property
    def seconds(self) -> float:
        """Time that the move takes; a short one never reaches its velocity."""
        if self._is_short:
            return 2 * math.sqrt(self.distance / self._acceleration) if self.ramp_s else 0.0
        return self.distance / self.velocity + self.ramp_s

    @property
    def _acceleration(self) -> float:
        return self.velocity / self.ramp_s

    @property
    def _is_short(self) -> bool:
        return self.distance <= self.velocity * self.ramp_s

    def travel(self, seconds: float) -> float:
        """Distance after a time."""
        if seconds <= 0:
            return 0.0
        if seconds >= self.seconds:
            return self.distance
        if seconds > self.seconds / 2:
            return self.distance - self.travel(self.seconds - seconds)
        if seconds < self.ramp_s:
            return self._acceleration * seconds**2 / 2
        return self.velocity * (seconds - self.ramp_s / 2)


@dataclass
class Axis:
    """State of one motor.

    Attributes
    ----------
    name : str
        PV behind the prefix.
    position : float
        Where the motor believes to be (mm).
    low, high : float
        Soft limits (mm).
    follow : callable
        Gets the true position.
    velocity, ramp_s : float
        mm/s, and s to reach it.
    encoder_um : float
        Rms of the readback's noise.
    slip : float
        True position minus `position` (mm): what was lost.
    """

    name: str
    position: float
    low: float
    high: float
    follow: Follow
    velocity: float = 5.0
    ramp_s: float = 0.1
    encoder_um: float = 0.02
    slip: float = 0.0
    rng: np.random.Generator = field(default_factory=lambda: np.random.default_rng(0))

    def allows(self, target: float) -> bool:
        """Whether a target is a number within the limits; limits that are equal are none."""
        return math.isfinite(target) and (self.low == self.high or self.low <= target <= self.high)

    def put(self, position: float, *, arrived: bool) -> None:
        """Bring the motor to a position.

        Parameters
        ----------
        position : float
            Where the motor is to believe to be (mm).
        arrived : bool
            Whether it stops there, or is on its way.
        """
        self.position = position
        self.follow(position + self.slip, arrived)

    def readback(self) -> float:
        """Read the encoder."""
        return self.position + self.encoder_um / 1000 * float(self.rng.normal())
