"""``cxgi session``: IPython with a beamline's devices, scans and catalog as names to type."""

from __future__ import annotations

import argparse

from ..errors import ConfigError
from ._echo import Echo
from ._options import Commands, Payload, add_command


def add(commands: Commands) -> None:
    """Add the command's grammar."""
    parser = add_command(
        commands,
        "session",
        session,
        examples=[
            "cxgi session  # simulated devices: try everything without a beamline",
            "cxgi session --beamline station-a.yaml --data /data/ghost  # a beamline",
        ],
    )
    parser.add_argument("--beamline", metavar="FILE", help="beamline file, or name of an example (default: simulated)")
    parser.add_argument("--sim", action="store_true", help="simulated devices, as without --beamline")
    parser.add_argument("--board", default="au64", help="if simulated: au64, cu32 or a file (default: %(default)s)")
    parser.add_argument("--object", default="gold", help="if simulated, as in cxgi demo (default: %(default)s)")
    parser.add_argument("--no-live", action="store_true", help="no images while a scan runs")


def session(options: argparse.Namespace, echo: Echo) -> Payload:
    """Start IPython with RE, catalog, devices and scans as names to type.

    Parameters
    ----------
    options : argparse.Namespace
        `beamline`, `sim`, `board`, `object`, `no_live` and `data`.
    echo : callable
        Takes a line of text for the user.

    Returns
    -------
    dict
        Empty, for ``--json``.
    """
    if options.sim and options.beamline is not None:
        raise ConfigError(f"--sim and --beamline {options.beamline}: give one of them")
    from ..session import start
    from ..session.console import start_console

    simulated = {"board": options.board, "object_name": options.object}
    start_console(start(beamline=options.beamline, data=options.data, live=not options.no_live, **simulated))
    return {}
