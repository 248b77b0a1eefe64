"""``--tile-maps`` and ``--board``: measured masks, and the board that they must be of."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from ..errors import CxgiError
from ._common import Payload, Say

if TYPE_CHECKING:
    from ..masks.board import MaskBoard
    from ..masks.tile_maps import TileMaps


def tile_maps_of(
    options: argparse.Namespace, say: Say, *, size: int | None, board: Payload | None = None
) -> TileMaps | None:
    """The maps that are asked for, checked as far as it can be told of which board they are.

    Parameters
    ----------
    size : int, optional
        Pixels per side of what was measured.
    board : dict, optional
        What the run says of its board: ``id`` and ``sha256``.

    Raises
    ------
    CxgiError
        If they cannot be read, or are of another board or size.
    """
    from ..masks.tile_maps import TileMaps

    if options.tile_maps is None:
        return None
    carrier = _given_board(options.board, board) if options.board is not None else _shipped_board(board)
    maps = TileMaps.from_file(options.tile_maps, carrier, size=size)
    says_its_board = maps.board_sha256 is not None and not Path(options.tile_maps).is_dir()
    if options.board is None and not says_its_board:
        taken = "" if carrier is None else f"taken for those of {carrier.name}, "
        say(f"the maps do not say of which board they are: {taken}not checked")
    return maps


def _given_board(name: str, of_the_run: Payload | None) -> MaskBoard:
    from ..masks.board import load_board

    board = load_board(name)
    if of_the_run is not None and of_the_run["sha256"] != board.sha256:
        raise CxgiError(
            f"--board {name} (sha256 {board.sha256[:12]}) is not the board of this run, {of_the_run['id']!r} "
            f"(sha256 {of_the_run['sha256'][:12]}): give that one"
        )
    return board


def _shipped_board(of_the_run: Payload | None) -> MaskBoard | None:
    """The board of the run, if it is exactly one that comes with the package."""
    from ..masks.board import load_board
    from ..masks.board_files import shipped_boards

    if of_the_run is None or of_the_run["id"] not in shipped_boards():
        return None
    board = load_board(of_the_run["id"])
    return board if board.sha256 == of_the_run["sha256"] else None
