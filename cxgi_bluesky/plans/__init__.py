"""Bluesky plans."""

from .adaptive_scan import adaptive_scan
from .align_board import align_board
from .knife_edge import knife_edge_scan
from .mask_scan import hadamard_scan, mask_scan
from .record_speckles import record_speckles
from .reference import dark_scan, metal_scan, reference_scan
from .resume import resume_scan

__all__ = [
    "adaptive_scan",
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
