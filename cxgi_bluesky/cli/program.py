"""The command line: `cxgi` and its commands, one file a group.

Every command has ``--json``: one JSON object on stdout and nothing else there; NaN is null. `ExitCode` has the status.
"""

from __future__ import annotations

import argparse
import atexit
import gc
import json
import os
import shutil
import sys
import textwrap
import traceback
from collections.abc import Sequence

from .. import __version__
from ..errors import CxgiError, missing_extra
from . import (
    align,
    catalog,
    check,
    completion,
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
    serve,
    session,
    train,
    web,
)
from ._echo import Echo, fit_to_terminal, print_error
from ._options import MAX_WIDTH, ExitCode, Parser, Payload, plain
from .demo import command as demo

# What one wants to do, and the modules of the commands for it, in the order of the help.
COMMANDS = {
    "Measure": (demo, session, plan, live),
    "Look at what was measured": (catalog, reconstruct, quality, convert),
    "Prepare a beamline": (check, align, knife_edge, d_r, train),
    "Serve others": (web, serve, pva, ioc, queue_profile, completion),
}
DESCRIPTION = """\
Computational x-ray ghost imaging with Bluesky.
New here? "cxgi demo" needs no beamline and no files; "cxgi COMMAND --help" has examples."""


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
        Exit status, an `ExitCode`.
    """
    options = (parser or build_parser()).parse_args(arguments)
    try:
        payload = _run(options, Echo(json=options.json, quiet=options.quiet))
    except BrokenPipeError:
        sys.stdout = open(os.devnull, "w")  # noqa: SIM115 what is left in it cannot be written when the process ends
        return ExitCode.PIPE_CLOSED
    except (CxgiError, OSError) as error:
        return _end(options, ExitCode.REFUSED, str(error))
    except KeyboardInterrupt as error:
        return _end(options, ExitCode.INTERRUPTED, str(error) or "interrupted")
    except Exception as error:
        options.debug = True
        what = f"{type(error).__name__}: {error}"
        return _end(options, ExitCode.DEFECT, f"a defect of cxgi ({what}): please report it with the lines above")
    if options.json:
        print(json.dumps(plain(payload), allow_nan=False))
    return int(payload.get("exit_code", ExitCode.DONE))


def _end(options: argparse.Namespace, status: ExitCode, problem: str) -> int:
    """Say in one line why a command ends, with --debug after the traceback."""
    if options.debug:
        traceback.print_exc()
    if options.json:
        print(json.dumps({"error": problem}))
    print_error(problem)
    return status


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


def build_parser() -> Parser:
    """Build the grammar of the command line."""
    parser = Parser(prog="cxgi", usage="cxgi COMMAND [options]", description=DESCRIPTION)
    parser.add_argument("--version", action="version", version=f"cxgi {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND", prog="cxgi", help=argparse.SUPPRESS)
    listed = []
    for title, modules in COMMANDS.items():
        before = len(commands.choices)
        for module in modules:
            module.add(commands)
        listed += [f"{title}:", *_list_commands(list(commands.choices.items())[before:])]
    parser.epilog = "\n".join(listed)
    return parser


def _list_commands(commands: Sequence[tuple[str, argparse.ArgumentParser]]) -> list[str]:
    """A line or two for each."""
    width = min(shutil.get_terminal_size().columns - 2, MAX_WIDTH)
    lines = []
    for name, parser in commands:
        summary = " ".join((parser.description or "").split())
        lines += textwrap.wrap(f"  {name:<15}{summary}", width, subsequent_indent=17 * " ")
    return [*lines, ""]


# ---------------------------------------------------------------- a process of its own


# Imports make a million objects that all stay, and Python looks through them after every 700. Measured, processor
# time with this and without: cxgi --help 0.32 s and 0.42 s, cxgi runs 5.9 s and 8.6 s.
OBJECTS_BETWEEN_COLLECTIONS = 200_000


def run() -> int:
    """Run one command; returns the exit status. Garbage is collected seldom, and not at the end."""
    gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS)
    atexit.register(gc.freeze)
    fit_to_terminal()
    if "_ARGCOMPLETE" in os.environ:  # the shell asks what could stand here
        completion.answer_shell(build_parser())
    return main()
