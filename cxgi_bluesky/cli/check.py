"""``cxgi check``: compare a beamline file with its devices."""

from __future__ import annotations

import argparse

from ._options import Commands, Echo, ExitCode, Payload, add_command


def add(commands: Commands) -> None:
    """Add the command's grammar."""
    parser = add_command(
        commands,
        "check",
        check,
        examples=[
            "cxgi check beamline.yml  # connect and read; nothing moves",
            "cxgi check beamline.yml --move --expose  # each axis by 0.1 mm, one exposure behind a closed shutter",
            "cxgi check ioc  # the example for cxgi ioc",
        ],
        data=False,
    )
    parser.add_argument("beamline", metavar="FILE", help="beamline file, or the name of an example")
    parser.add_argument("--move", action="store_true", help="move each axis of the mask stage by 0.1 mm and back")
    parser.add_argument("--expose", action="store_true", help="try one exposure, with the shutter closed")


def check(options: argparse.Namespace, echo: Echo) -> Payload:
    """Check a beamline file against its IOCs; nothing moves or is exposed unless asked for.

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

    with echo.working(f"checking {options.beamline}"):
        report = check_beamline(options.beamline, move=options.move, expose=options.expose)
    if report.good:
        echo(str(report), style="green")
    else:
        rows = [(finding.where, finding.what, finding.remedy) for finding in report.findings]
        echo.table(("where", "what is wrong", "what to do"), rows)
    return {**report.to_dict(), "exit_code": ExitCode.DONE if report.good else ExitCode.FINDINGS}
