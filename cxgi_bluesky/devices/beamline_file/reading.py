"""Reading and checking a beamline file; nothing connects here."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..._files.yaml_file import read_yaml_file
from ...errors import CxgiError
from ...masks.board import MaskBoard, load_board
from ...masks.board_files import shipped_boards
from .consistency import check_together
from .keys import check_block
from .schema import TOP


@dataclass(frozen=True)
class BeamlineFile:
    """A beamline file, checked: blocks with all their keys, and the board.

    Attributes
    ----------
    path : Path
    words : dict
        Blocks and values as in the file, defaults included, PVs without the prefix.
    board : MaskBoard
    """

    path: Path
    words: dict[str, Any]
    board: MaskBoard

    def pv(self, name: Any) -> Any:
        """Whole name of a PV; None stays None."""
        return None if name is None else f"{self.words['prefix']}{name}"


def read_beamline_file(path: str | Path) -> BeamlineFile:
    """Read and check a beamline file.

    Raises
    ------
    CxgiError
        If it cannot be read, or for the first key that is unknown, missing or wrong.
    """
    path = Path(path)
    words = read_yaml_file(path, "beamline file")
    try:
        checked = check_block(words, TOP, "")
        check_together(checked)
        _check_data(checked["data"])
        return BeamlineFile(path, checked, _board(checked["board"], path.parent))
    except CxgiError as error:
        raise CxgiError(f"beamline file {path}: {error}") from error


def _board(name: str, folder: Path) -> MaskBoard:
    """The board: one that ships with the package, or a file beside the beamline file."""
    try:
        return load_board(name if name in shipped_boards() else str(folder / name))
    except CxgiError as error:
        raise CxgiError(f"board {name!r}: {error}") from error


def _check_data(data: str | None) -> None:
    if data is not None and "://" in data and not data.startswith(("http://", "https://")):
        raise CxgiError(f"data {data!r}: give the path of a folder, or the address of a Tiled server, http://host:port")
