"""``cxgi knife-edge``: the size of the source's spot from a knife-edge scan."""

from __future__ import annotations

import argparse

from ._options import Commands, Echo, Payload, add_command
from ._runs import RUN_HELP, complete_runs, set_completer


def add(commands: Commands) -> None:
    """Add the command's grammar."""
    parser = add_command(
        commands,
        "knife-edge",
        knife_edge,
        examples=[
            "cxgi knife-edge last  # the newest run of knife_edge_scan",
            "cxgi knife-edge 12 --json  # scan number 12, for a program",
        ],
    )
    run_help = RUN_HELP.format(last="the newest of knife_edge_scan")
    set_completer(parser.add_argument("run", metavar="RUN", help=run_help), complete_runs)


def knife_edge(options: argparse.Namespace, echo: Echo) -> Payload:
    """Fit the size of the source's spot to a knife-edge scan.

    Parameters
    ----------
    options : argparse.Namespace
        `run` and `data`.
    echo : callable
        Takes a line of text for the user.

    Returns
    -------
    dict
        The fit (um), for ``--json``.
    """
    with echo.working("fitting the source's spot"):
        from ..analysis.knife_edge import PURPOSE, fit_knife_edge
        from ..catalog import find_named_run, open_catalog

        run = find_named_run(open_catalog(options.data), options.run, purpose=PURPOSE)
        fit = fit_knife_edge(run)
    echo(str(fit))
    echo(f"edge at {fit.centre_um:.2f} +- {fit.centre_sigma_um:.2f} um")
    numbers = {name: value for name, value in vars(fit).items() if isinstance(value, int | float | str)}
    return {"run": run.metadata["start"]["uid"], **numbers, "points": len(fit.signal)}
