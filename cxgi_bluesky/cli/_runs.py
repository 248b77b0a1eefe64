"""Runs on the command line: how they are named and described, and what the shell offers for them."""

from __future__ import annotations

import argparse
from collections.abc import Callable
from typing import Any

Completer = Callable[..., list[str] | dict[str, str]]

RUN_HELP = (
    "uid of the run or its beginning, its scan number, last ({last}), or -1, -2, ... counted from the end of cxgi runs"
)
LAST_MEASURED = "the newest run that was measured, never a reconstruction"
MAX_OFFERED = 100  # runs, the newest


def describe_row(row: dict[str, Any]) -> str:
    """Say in a few words what a run is.

    Parameters
    ----------
    row : dict
        Summary of a run, of `list_runs`.
    """
    what: str = row["purpose"] or "-"
    if row["raw_uids"]:
        what = f"{row['method']} of {', '.join(uid[:8] for uid in row['raw_uids'])}, {row['exposures']} patterns"
    elif row["patterns"]:
        kind = "scan" if what == "image" else f"{what} scan"
        rest = f", the rest of {row['resumes'][:8]}" if row["resumes"] else ""
        what = f"{kind}, board {row['board']}, {row['exposures'] or '?'} of {row['patterns']} patterns{rest}"
    elif what in ("dark", "metal"):
        what = f"{what} scan"
    return what


def set_completer(argument: argparse.Action, completer: Completer) -> None:
    """Say what the shell offers for an argument; without it that is files, or its choices.

    Parameters
    ----------
    argument : argparse.Action
    completer : callable
        Of argcomplete: takes `prefix` and `parsed_args`, returns words, or words and what they are.
    """
    argument.completer = completer  # type: ignore[attr-defined]


def complete_runs(prefix: str, parsed_args: argparse.Namespace, **_: Any) -> dict[str, str]:
    """Offer the newest runs by the beginnings of their uids or, after a digit, also by their scan numbers.

    Parameters
    ----------
    prefix : str
        What was typed.
    parsed_args : argparse.Namespace
        With `data`.
    """
    from ..catalog import list_runs

    rows, _total = list_runs(parsed_args.data, last=MAX_OFFERED)
    offered = {"last": LAST_MEASURED}
    for row in reversed(rows):
        for name in (row["uid"][:8], *([str(row["scan_id"])] if row["scan_id"] is not None and prefix else [])):
            offered.setdefault(name, describe_row(row))
    return {name: what for name, what in offered.items() if name.startswith(prefix)}


def complete_runs_and_files(prefix: str, parsed_args: argparse.Namespace, **_: Any) -> list[str]:
    """Offer runs, and what the shell would for a file.

    Parameters
    ----------
    prefix : str
        What was typed.
    parsed_args : argparse.Namespace
        With `data`.
    """
    from argcomplete.completers import FilesCompleter

    return [*complete_runs(prefix, parsed_args), *FilesCompleter()(prefix)]
