"""Computational x-ray ghost imaging as a Bluesky run.

Importing this package imports neither torch nor bluesky; names are loaded when they are used.
"""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import Any

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
    "Reconstruction": "reconstruction",
    "hadamard_scan": "plans",
    "load_board": "board",
    "read_buckets": "bucket_file",
    "reconstruct": "reconstruction",
    "write_buckets": "bucket_file",
}

__all__ = ["__version__", *sorted(_HOMES)]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(f".{_HOMES[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
