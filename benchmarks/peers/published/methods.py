"""What is compared, and what the user gave for it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.peers.published import folder
from benchmarks.peers.published.networks import FFDNet, ISTANetPlus, OPINENetPlus
from benchmarks.peers.published.pnp import pnp_ffdnet
from benchmarks.peers.published.tuned import SCHEDULES
from cxgi_bluesky.measurement.measurement import Measurement
from cxgi_bluesky.reconstruction.api import reconstruct

NETWORK = "ch-mwcnn"
OURS = ("inverse", "tv", NETWORK)
PNP, ISTA, OPINE = "PnP-FFDNet", "ISTA-Net+", "OPINE-Net+"
BY_PATTERNS = (*OURS, PNP)  # these take Hadamard coefficients, the others have masks of their own
METHODS = (*BY_PATTERNS, ISTA, OPINE)
ORDERS = ("zig-zag", "variable-density")
Method = Callable[[Measurement], folder.Image]


@dataclass(frozen=True)
class Given:
    """What the user gave.

    Attributes
    ----------
    published : Path, optional
        Folder of the peers' repositories.
    weights : str, optional
        Of our network; by default those of the package.
    """

    published: Path | None = None
    weights: str | None = None

    def by_patterns(self, name: str, level: float | None, fraction: float, order: str) -> Method:
        """A method that takes Hadamard coefficients; PnP-FFDNet with the schedule of this noise, fraction and order."""
        if name == PNP:
            denoiser, schedule = FFDNet(folder.ffdnet_files(self.peers())), SCHEDULES[level, fraction, order]
            return lambda measurement: pnp_ffdnet(measurement, denoiser, schedule)
        options: dict[str, Any] = {"weights": self.weights} if name == NETWORK and self.weights is not None else {}
        return lambda measurement: reconstruct(measurement, method=name, **options).image

    def by_blocks(self, name: str, ratio: int) -> ISTANetPlus | OPINENetPlus:
        """A network with masks of its own."""
        if name == ISTA:
            return ISTANetPlus(*folder.ista_files(self.peers(), ratio))
        return OPINENetPlus(folder.opine_files(self.peers(), ratio))

    def peers(self) -> Path:
        """The folder of the peers."""
        if self.published is None:
            raise folder.NotGiven("not given: the folder of the peers")
        return self.published
