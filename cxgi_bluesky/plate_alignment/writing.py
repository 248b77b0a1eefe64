"""A new board file for a plate whose alignment was found; the old one stays as it is."""

from __future__ import annotations

from pathlib import Path

from ..errors import CxgiError
from ..masks.board import MaskBoard
from ..masks.board_files import yaml_text
from .fit import AlignmentFit


def write_aligned_board(board: MaskBoard, fit: AlignmentFit, path: str | Path) -> Path:
    """Write a board file with the alignment that was found.

    Parameters
    ----------
    board : MaskBoard
        The board that was aligned, as its file said.
    fit : AlignmentFit
    path : path or str
        A new file, ``.yaml`` or ``.yml``.

    Raises
    ------
    CxgiError
        If the file exists or cannot be written, or the fit is of another board.
    """
    path = Path(path)
    if board.sha256 != fit.board.sha256:
        raise CxgiError(f"the alignment is of board {fit.board.name!r} as another file says it, not of {board.name!r}")
    if path.suffix not in (".yaml", ".yml"):
        raise CxgiError(f"board file {path}: call it .yaml or .yml")
    comment = f"# Alignment found by align_board, run {fit.uid or 'unknown'}.\n# {fit}\n"
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(comment + yaml_text(fit.aligned_board.to_dict()))
    except FileExistsError:
        raise CxgiError(f"board file {path} exists: an old board file is kept, choose another name") from None
    except OSError as error:
        raise CxgiError(f"board file {path} cannot be written ({error.strerror})") from error
    return path
