"""Distances along the beam, and what they make of a source of finite size."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from ..errors import ConfigError


@dataclass(frozen=True)
class Geometry:
    """Distances along the beam (mm). The paper gives none; a knife, say, is no part of this.

    Attributes
    ----------
    source_mask_mm, mask_object_mm, object_detector_mm : float
    """

    source_mask_mm: float = 450.0
    mask_object_mm: float = 10.0
    object_detector_mm: float = 460.0

    def __post_init__(self) -> None:
        for name in (f.name for f in fields(self)):
            least_ok = getattr(self, name) > 0 if name == "source_mask_mm" else getattr(self, name) >= 0
            if not (least_ok and math.isfinite(getattr(self, name))):
                raise ConfigError(f"{name} {getattr(self, name)} is no distance: give mm")

    @property
    def source_object_mm(self) -> float:
        """Source to object."""
        return self.source_mask_mm + self.mask_object_mm

    @property
    def source_detector_mm(self) -> float:
        """Source to detector."""
        return self.source_object_mm + self.object_detector_mm

    @property
    def object_magnification(self) -> float:
        """Size of the mask's shadow at the object over the mask: the object's pixel over the mask's."""
        return self.source_object_mm / self.source_mask_mm

    @property
    def detector_magnification(self) -> float:
        """Size of the object's shadow at the detector over the object."""
        return self.source_detector_mm / self.source_object_mm

    def object_pixel_um(self, mask_pixel_um: float) -> float:
        """Size at the object of a mask pixel's shadow: the pixel of a ghost image."""
        return mask_pixel_um * self.object_magnification

    def penumbra_um(self, spot_um: float) -> float:
        """Size at the object of the spot as a point of the mask projects it: what blurs a ghost image."""
        return spot_um * self.mask_object_mm / self.source_mask_mm

    def direct_blur_um(self, spot_um: float) -> float:
        """Size of the spot as a point of the object projects it, in the object's plane: spot * (M - 1) / M."""
        return spot_um * self.object_detector_mm / self.source_detector_mm
