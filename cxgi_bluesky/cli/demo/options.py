"""What a demonstration is asked for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class DemoOptions:
    """Object, board, sampling and folders.

    Attributes
    ----------
    object_name, board : str
        Of the twin.
    fraction : float
        Sampling fraction.
    seed : int
    out : path
        Folder for the pictures.
    data : path or str, optional
        Data folder, as in `session.start`.
    """

    object_name: str
    board: str
    fraction: float
    seed: int
    out: str | Path
    data: str | Path | None = None
