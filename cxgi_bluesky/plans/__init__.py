"""Bluesky plans."""

from .raster import hadamard_scan, mask_scan
from .speckles import record_speckles

__all__ = ["hadamard_scan", "mask_scan", "record_speckles"]
