"""Whether masks pass as much light as a measurement is told: a wrong d_r or dark level gives a picture that looks fine.

Both make the same error in all coefficients k > 0: a spot in the corner (0, 0) of the picture, brighter than any object
can be. Held-back patterns have it too, so that they do not contradict it.
"""

from __future__ import annotations

from ..measurement.measurement import Measurement
from .common_error import spot_sizes

_LEAST = 0.05  # of the light of the open beam
_SIGMAS = 8.0


def light_error(measurement: Measurement) -> float | None:
    """How much more light all masks pass than d_r and dark level say, as a share of the open beam's; else None.

    Only for binary masks, and only where it is beyond what etching, noise and an object could be.
    """
    if measurement.source.get("coding") != "binary" or "tile_maps_sha256" in measurement.source:
        return None
    light = float(measurement.coefficient[measurement.pattern_index == 0][0])
    constant, sigma = spot_sizes(measurement)
    share = constant * measurement.d_r / (2 * light) if light else 0.0
    return share if abs(share) > _LEAST and abs(constant) > _SIGMAS * sigma else None
