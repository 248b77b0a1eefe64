"""What every command shares: its signature, and the options that all have."""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from typing import Any

from ..errors import CxgiError

RUN_HELP = "uid of the run or its beginning, its scan number, last, or -2 for the last but one"

Payload = dict[str, Any]
Say = Callable[[str], None]
Command = Callable[[argparse.Namespace, Say], Payload]
Commands = Any  # argparse's own type of a group of sub-parsers is private


def add_command(commands: Commands, name: str, function: Command, *, data: bool = True) -> argparse.ArgumentParser:
    """A sub-parser whose help is the first line of the function's docstring."""
    words = (function.__doc__ or "").splitlines()[0]
    parser: argparse.ArgumentParser = commands.add_parser(name, help=words, description=words)
    parser.set_defaults(command=function)
    parser.add_argument("--json", action="store_true", help="one JSON object on stdout, nothing else there")
    if data:
        parser.add_argument("--data", help="data folder or Tiled server (default: CXGI_DATA, else your data folder)")
    return parser


def refuse_for_signed(options: argparse.Namespace, coding: str | None) -> None:
    """Raise `CxgiError` for --d-r or --dark with signed buckets, which have neither."""
    if coding == "signed" and (options.d_r is not None or options.dark is not None):
        raise CxgiError("--d-r and --dark do not apply to --coding signed: its buckets are sums of H_k * image")


def printable(text: str) -> str:
    """Text without what a terminal would obey: metadata of others may hold escape characters."""
    return "".join(c if c.isprintable() or c in "\n\t" else c.encode("unicode_escape").decode() for c in text)


def plain(value: Any) -> Any:
    """Values that JSON knows: NaN and infinity become None, arrays and numpy numbers plain ones."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
