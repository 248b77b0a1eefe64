"""What every command shares: its signature, and the options that all have."""

from __future__ import annotations

import argparse
import functools
import json
import math
import shutil
import sys
import textwrap
from collections.abc import Callable, Sequence
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from ..errors import ConfigError, StorageError
from ._echo import Echo as Echo
from ._echo import print_error

if TYPE_CHECKING:
    from ..masks.board import MaskBoard
    from ..masks.tile_maps import TileMaps


MAX_WIDTH = 100  # columns of a help
LOOPBACK = ("127.", "localhost", "::1")  # how addresses begin that are of this machine alone


class ExitCode(IntEnum):
    """With what a command ends."""

    DONE = 0
    FINDINGS = 1  # done, and something is wrong with what was looked at
    REFUSED = 2  # what was asked for cannot be met: one line says why
    DEFECT = 70  # of cxgi itself (EX_SOFTWARE)
    INTERRUPTED = 130  # Ctrl-C, as in shells
    PIPE_CLOSED = 141  # the reader of a pipe has ended, as in shells


FROM_HELP = "0mq://HOST:PORT, where a proxy gives documents, or tiled://HOST:PORT, a Tiled server (also http[s]://...)"
QUERY_HELP = """only runs that meet it, such as 'sample == "leaf" and time > "2026-11-01"'"""

Payload = dict[str, Any]
Command = Callable[[argparse.Namespace, Echo], Payload]
Commands = Any  # argparse's own type of a group of sub-parsers is private


class Parser(argparse.ArgumentParser):
    """A grammar whose help is as wide as the terminal, and whose errors are a line and where to read on."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        width = min(shutil.get_terminal_size().columns - 2, MAX_WIDTH)
        form = functools.partial(argparse.RawDescriptionHelpFormatter, width=width, max_help_position=28)
        super().__init__(*args, **{"formatter_class": form, **kwargs})
        self._json = False

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Note whether errors are to be JSON, too."""
        self._json = "--json" in (sys.argv[1:] if args is None else args)
        return super().parse_known_args(args, namespace)

    def error(self, message: str) -> NoReturn:
        """End with status 2 and one line."""
        if self._json:
            print(json.dumps({"error": message}))
        print_error(f"{message}; see {self.prog} --help")
        self.exit(ExitCode.REFUSED)


def add_command(
    commands: Commands, name: str, function: Command, *, examples: Sequence[str], data: bool = True
) -> argparse.ArgumentParser:
    """Add a sub-parser whose help is the first line of the function's docstring, and its examples.

    Parameters
    ----------
    commands : argparse's group of sub-parsers
    name : str
        Of the command.
    function : callable
        Takes the parsed options and an `Echo`; returns what ``--json`` prints.
    examples : sequence of str
        One to three lines as they are typed, each with a remark: ``cxgi show last  # the newest run``. Tests parse
        them, and run those that are listed in ``tests/cli/test_help.py``.
    data : bool, optional
        Whether the command has ``--data`` (default True).
    """
    summary = (function.__doc__ or "").splitlines()[0]
    text = "examples:"
    for command, _, remark in (example.partition("  # ") for example in examples):
        text += f"\n  # {remark}\n  {command}"
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=summary, description="\n".join(textwrap.wrap(summary, MAX_WIDTH)), epilog=text
    )
    if data:
        parser.add_argument("--data", help="data folder or Tiled server (default: CXGI_DATA, else your data folder)")
    return _prepare(parser, function)


def command_parser(program: str, function: Command) -> argparse.ArgumentParser:
    """Make the parser of a program that is one command.

    Parameters
    ----------
    program : str
        Its name.
    function : callable
        As in `add_command`.
    """
    return _prepare(Parser(prog=program, description=(function.__doc__ or "").splitlines()[0]), function)


def _prepare(parser: argparse.ArgumentParser, function: Command) -> argparse.ArgumentParser:
    parser.set_defaults(command=function)
    output = parser.add_argument_group("output")
    output.add_argument("--json", action="store_true", help="one JSON object on stdout, nothing else there")
    output.add_argument("--quiet", action="store_true", help="results, warnings and errors alone, no progress")
    output.add_argument("--debug", action="store_true", help="with an error also where it comes from (the traceback)")
    return parser


class Renamed(argparse.Action):
    """An earlier name of an option: works for one release, with a warning; not listed in the help."""

    def __init__(self, *args: Any, new_name: str, **kwargs: Any) -> None:
        super().__init__(*args, **{**kwargs, "help": argparse.SUPPRESS})
        self.new_name = new_name

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option_string: Any = None) -> None:
        """Store the value and name the new option."""
        print(f"{option_string} is now {self.new_name}: write that, the next release takes no other", file=sys.stderr)
        setattr(namespace, self.dest, values)


def refuse_for_signed(options: argparse.Namespace, coding: str | None) -> None:
    """Raise `CxgiError` for --d-r or --dark with signed buckets, which have neither.

    Parameters
    ----------
    options : argparse.Namespace
        With `d_r` and `dark`, None where they were not given.
    coding : str or None
        How the buckets were taken.
    """
    if coding == "signed" and (options.d_r is not None or options.dark is not None):
        raise ConfigError("--d-r and --dark do not apply to --coding signed: its buckets are sums of H_k * image")


def plain(value: Any) -> Any:
    """Convert to values that JSON knows: NaN and infinity become None, arrays and numpy numbers plain ones."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


# ---------------------------------------------------------------- maps of the tiles


def make_folder(out: str | Path) -> Path:
    """Make the folder for what a command writes; `CxgiError` if that cannot be."""
    try:
        Path(out).mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"folder {out} cannot be made ({error}): choose another --out") from error
    return Path(out)


def tile_maps_of(
    options: argparse.Namespace, echo: Echo, *, size: int | None, board: Payload | None = None
) -> TileMaps | None:
    """Read the maps that are asked for, and check them as far as their board is known.

    Parameters
    ----------
    size : int, optional
        Pixels per side of what was measured.
    board : dict, optional
        The board of the run: ``id`` and ``sha256``.

    Raises
    ------
    CxgiError
        If they cannot be read, or are of another board or size.
    """
    from ..masks.tile_maps import TileMaps

    if options.tile_maps is None:
        return None
    carrier = _find_board(options.board, board) if options.board is not None else _find_shipped_board(board)
    maps = TileMaps.from_file(options.tile_maps, carrier, size=size)
    names_its_board = maps.board_sha256 is not None and not Path(options.tile_maps).is_dir()
    if options.board is None and not names_its_board:
        taken = "" if carrier is None else f"taken for those of {carrier.name}, "
        echo(f"the maps do not say of which board they are: {taken}not checked")
    return maps


def _find_board(name: str, of_the_run: Payload | None) -> MaskBoard:
    from ..masks.board import load_board

    board = load_board(name)
    if of_the_run is not None and of_the_run["sha256"] != board.sha256:
        raise ConfigError(
            f"--board {name} (sha256 {board.sha256[:12]}) is not the board of this run, {of_the_run['id']!r} "
            f"(sha256 {of_the_run['sha256'][:12]}): give that one"
        )
    return board


def _find_shipped_board(of_the_run: Payload | None) -> MaskBoard | None:
    """Find the board of the run, if it is exactly one that comes with the package."""
    from ..masks.board import load_board
    from ..masks.board_files import list_shipped_boards

    if of_the_run is None or of_the_run["id"] not in list_shipped_boards():
        return None
    board = load_board(of_the_run["id"])
    return board if board.sha256 == of_the_run["sha256"] else None
