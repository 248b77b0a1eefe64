"""What every command shares: its signature, and the options that all have."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

from ..errors import CxgiError

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
        parser.add_argument("--data", help="data folder (default: CXGI_DATA, else the user's data folder)")
    return parser


def refuse_for_signed(options: argparse.Namespace, coding: str | None) -> None:
    """Raise `CxgiError` for --d-r or --dark with signed buckets, which have neither."""
    if coding == "signed" and (options.d_r is not None or options.dark is not None):
        raise CxgiError("--d-r and --dark do not apply to --coding signed: its buckets are sums of H_k * image")
