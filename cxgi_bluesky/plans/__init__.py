"""Bluesky plans."""

from .raster import hadamard_scan

__all__ = ["hadamard_scan"]
