"""The command line: `cxgi` and its commands, one file a group.

Every command has ``--json``: one JSON object on stdout and nothing else there; NaN is null.
Exit status: 0 done, 2 the request cannot be met (one line: why), 1 anything else, such as findings of `check`.
"""

from __future__ import annotations

import argparse
import atexit
import gc
import json
import sys
from collections.abc import Sequence

from .. import __version__
from ..errors import CxgiError, missing_extra
from . import (
    align,
    catalog,
    check,
    convert,
    d_r,
    ioc,
    knife_edge,
    live,
    plan,
    pva,
    quality,
    queue_profile,
    reconstruct,
    train,
)
from ._options import Echo, Payload, plain, printable
from .demo import command as demo

COMMANDS = (
    demo,
    plan,
    catalog,
    reconstruct,
    live,
    pva,
    convert,
    quality,
    d_r,
    knife_edge,
    train,
    ioc,
    check,
    align,
    queue_profile,
)


def main(arguments: Sequence[str] | None = None, *, parser: argparse.ArgumentParser | None = None) -> int:
    """Run one command, of `cxgi` or of another program.

    Parameters
    ----------
    arguments : sequence of str, optional
        Arguments of the command line (default: those of the process).
    parser : argparse.ArgumentParser, optional
        Grammar of the program (default: that of `cxgi`).

    Returns
    -------
    int
        Exit status: 0 done, 2 the request cannot be met, 130 interrupted, 1 anything else.
    """
    options = (parser or build_parser()).parse_args(arguments)
    echo: Echo = (lambda text: None) if options.json else (lambda text: print(printable(text), flush=True))
    try:
        payload = _run(options, echo)
    except CxgiError as error:
        if options.json:
            print(json.dumps({"error": str(error)}))
        print(f"cxgi: {printable(str(error))}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        return 1
    except KeyboardInterrupt:
        print("cxgi: interrupted", file=sys.stderr)
        return 130
    if options.json:
        print(json.dumps(plain(payload), allow_nan=False))
    return int(payload.get("exit_code", 0))


def _run(options: argparse.Namespace, echo: Echo) -> Payload:
    """Run a command; a missing extra and faults of the catalog become one line with the remedy."""
    try:
        return options.command(options, echo)
    except (CxgiError, OSError):
        raise
    except Exception as error:
        from ..catalog import catalog_problem

        problem = missing_extra(error) or catalog_problem(error)
        if problem is None:
            raise
        raise problem from error


def build_parser() -> argparse.ArgumentParser:
    """Build the grammar of the command line."""
    parser = argparse.ArgumentParser(prog="cxgi", description="Computational x-ray ghost imaging with Bluesky.")
    parser.add_argument("--version", action="version", version=f"cxgi {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    for module in COMMANDS:
        module.add(commands)
    return parser


# ---------------------------------------------------------------- a process of its own


# Imports make a million objects that all stay, and Python looks through them after every 700. Measured, processor
# time with this and without: cxgi --help 0.32 s and 0.42 s, cxgi runs 5.9 s and 8.6 s.
OBJECTS_BETWEEN_COLLECTIONS = 200_000


def run() -> int:
    """Run one command; returns the exit status. Garbage is collected seldom, and not at the end."""
    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS)
    atexit.register(gc.freeze)
    return main()
