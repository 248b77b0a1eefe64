"""``cxgi check``: compare a beamline file with its devices."""

from __future__ import annotations

import argparse

from ._options import Commands, Echo, Payload, add_command

SOMETHING_WRONG = 1


def add(commands: Commands) -> None:
    """Add the command's grammar."""
    parser = add_command(commands, "check", check, data=False)
    parser.add_argument("beamline", metavar="FILE", help="beamline file, or the name of an example")
    parser.add_argument("--move", action="store_true", help="move each axis of the mask stage by 0.1 mm and back")
    parser.add_argument("--expose", action="store_true", help="try one exposure, with the shutter closed")


def check(options: argparse.Namespace, echo: Echo) -> Payload:
    """Check a beamline file against its IOCs; nothing moves without --move, nothing is exposed without --expose.

    Parameters
    ----------
    options : argparse.Namespace
        `beamline`, `move` and `expose`.
    echo : callable
        Takes a line of text for the user.

    Returns
    -------
    dict
        The report and the exit status, for ``--json``.
    """
    from ..devices.diagnostics.check import check_beamline

    report = check_beamline(options.beamline, move=options.move, expose=options.expose)
    echo(str(report))
    return {**report.to_dict(), "exit_code": 0 if report.good else SOMETHING_WRONG}
