"""Bluesky plans."""

from .align import align_board
from .knife_edge import knife_edge_scan
from .raster import hadamard_scan, mask_scan
from .reference import dark_scan, metal_scan, reference_scan
from .resume import resume_scan
from .speckles import record_speckles

__all__ = [
    "align_board",
    "dark_scan",
    "hadamard_scan",
    "knife_edge_scan",
    "mask_scan",
    "metal_scan",
    "record_speckles",
    "reference_scan",
    "resume_scan",
]
