"""Computational x-ray ghost imaging as a Bluesky run.

Importing this package imports neither torch nor bluesky; names are loaded when they are used.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:  # what `__getattr__` loads, for type checkers
    from .bucket_file import BucketTable as BucketTable
    from .bucket_file import read_buckets as read_buckets
    from .bucket_file import write_buckets as write_buckets
    from .errors import CxgiError as CxgiError
    from .masks.board import MaskBoard as MaskBoard
    from .masks.board import load_board as load_board
    from .masks.pattern_set import PatternSet as PatternSet
    from .masks.speckle_files import write_speckles as write_speckles
    from .masks.speckle_set import SpeckleSet as SpeckleSet
    from .measurement import Measurement as Measurement
    from .plans import hadamard_scan as hadamard_scan
    from .plans import mask_scan as mask_scan
    from .plans import record_speckles as record_speckles
    from .reconstruction import Reconstruction as Reconstruction
    from .reconstruction import reconstruct as reconstruct
    from .reconstruction import reconstruct_many as reconstruct_many
    from .speckle_measurement import SpeckleMeasurement as SpeckleMeasurement

try:
    __version__ = version("cxgi_bluesky")
except PackageNotFoundError:  # a source tree that was not installed
    __version__ = "0+unknown"

_HOMES = {
    "BucketTable": "bucket_file",
    "CxgiError": "errors",
    "MaskBoard": "board",
    "Measurement": "measurement",
    "PatternSet": "patterns",
    "SpeckleMeasurement": "speckle_measurement",
    "SpeckleSet": "speckle_set",
    "Reconstruction": "reconstruction",
    "hadamard_scan": "plans",
    "load_board": "board",
    "mask_scan": "plans",
    "read_buckets": "bucket_file",
    "reconstruct": "reconstruction",
    "reconstruct_many": "reconstruction",
    "record_speckles": "plans",
    "write_buckets": "bucket_file",
    "write_speckles": "speckle_writer",
}

__all__ = ["__version__", *sorted(_HOMES)]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
