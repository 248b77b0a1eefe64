"""Bluesky plans."""

from .knife_edge import knife_edge_scan
from .raster import hadamard_scan
from .reference import dark_scan, metal_scan, reference_scan

__all__ = ["dark_scan", "hadamard_scan", "knife_edge_scan", "metal_scan", "reference_scan"]
