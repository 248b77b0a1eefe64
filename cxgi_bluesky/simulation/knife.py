"""A blade in the beam of the twin: how much of the spot is seen past it through a slit."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ..analysis.knife_edge import KnifeGeometry
from .penumbra import transfer
from .source import Source


@dataclass(frozen=True)
class Blade:
    """A thin, opaque blade that covers everything below its edge.

    Attributes
    ----------
    edge_um : float
        Position of the edge from the axis of the beam, in the blade's plane.
    geometry : KnifeGeometry
    """

    edge_um: float
    geometry: KnifeGeometry

    def passed(self, source: Source, axis: str) -> float:
        """Share of the light that passes the blade.

        A ray from the spot's point u to the slit's point s crosses the blade's plane at a u + b s: the slit's
        shadow there, b times its width, blurred by the spot, a times its size. What of it lies above the edge passes.

        Parameters
        ----------
        source : Source
        axis : {"x", "y"}
            Along which the blade moves.
        """
        half = self.geometry.slit_share_um / 2
        spot = source.fwhm_um(axis) * self.geometry.spot_share
        top = max(self.edge_um, half + 10 * spot) + 1
        shares = transfer(np.array([self.edge_um, top]), np.array([-half, half]), spot, source.shape)
        return float(np.clip(shares[0, 0], 0, 1))
