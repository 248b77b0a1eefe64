"""Computational x-ray ghost imaging as a Bluesky run.

Importing this package imports neither torch nor bluesky; names are loaded when they are used.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what `__getattr__` loads, for type checkers
    from .errors import CxgiError as CxgiError
    from .masks.board import MaskBoard as MaskBoard
    from .masks.board import load_board as load_board
    from .masks.pattern_set import PatternSet as PatternSet
    from .masks.speckle_files import write_speckles as write_speckles
    from .masks.speckle_set import SpeckleSet as SpeckleSet
    from .measurement.bucket_files import BucketTable as BucketTable
    from .measurement.bucket_files import read_buckets as read_buckets
    from .measurement.bucket_files import write_buckets as write_buckets
    from .measurement.measurement import Measurement as Measurement
    from .measurement.speckle import SpeckleMeasurement as SpeckleMeasurement
    from .plans import hadamard_scan as hadamard_scan
    from .plans import mask_scan as mask_scan
    from .plans import record_speckles as record_speckles
    from .reconstruction import Reconstruction as Reconstruction
    from .reconstruction import ResidualLine as ResidualLine
    from .reconstruction import reconstruct as reconstruct
    from .reconstruction import reconstruct_many as reconstruct_many
    from .reconstruction import residual_lines as residual_lines

try:
    __version__ = version("cxgi_bluesky")
except PackageNotFoundError:  # a source tree that was not installed
    __version__ = "0+unknown"

_HOMES = {
    "BucketTable": "measurement.bucket_files",
    "CxgiError": "errors",
    "MaskBoard": "masks.board",
    "Measurement": "measurement.measurement",
    "PatternSet": "masks.pattern_set",
    "SpeckleMeasurement": "measurement.speckle",
    "SpeckleSet": "masks.speckle_set",
    "Reconstruction": "reconstruction",
    "ResidualLine": "reconstruction",
    "hadamard_scan": "plans",
    "load_board": "masks.board",
    "mask_scan": "plans",
    "read_buckets": "measurement.bucket_files",
    "reconstruct": "reconstruction",
    "reconstruct_many": "reconstruction",
    "record_speckles": "plans",
    "residual_lines": "reconstruction",
    "write_buckets": "measurement.bucket_files",
    "write_speckles": "masks.speckle_files",
}

__all__ = ["__version__", *sorted(_HOMES)]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
