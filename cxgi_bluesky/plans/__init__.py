"""Bluesky plans."""

from .knife_edge import knife_edge_scan
from .raster import hadamard_scan

__all__ = ["hadamard_scan", "knife_edge_scan"]
