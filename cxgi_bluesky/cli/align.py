"""``cxgi align``: a new board file from an `align_board` run."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from ._options import Commands, Echo, Payload, add_command
from ._runs import RUN_HELP, complete_runs, set_completer


def add(commands: Commands) -> None:
    """Add the command's grammar."""
    parser = add_command(
        commands,
        "align",
        align,
        examples=[
            "cxgi align last  # the newest run of align_board",
            "cxgi align 1a2b3c4d --out aligned.yaml  # write the board file with what was found",
        ],
    )
    run_help = RUN_HELP.format(last="the newest of align_board")
    set_completer(parser.add_argument("run", metavar="RUN", help=run_help), complete_runs)
    parser.add_argument("--out", metavar="FILE", help="new board file (.yaml); one that exists is never overwritten")


def align(options: argparse.Namespace, echo: Echo) -> Payload:
    """Find the alignment of a board on its stage from a run of align_board.

    Parameters
    ----------
    options : argparse.Namespace
        `run`, `out` and `data`.
    echo : callable
        Takes a line of text for the user.

    Returns
    -------
    dict
        The alignment and how well it fits (mm, um, deg), for ``--json``.
    """
    with echo.working("fitting the alignment"):
        from ..analysis.board_alignment.run import PURPOSE, alignment_from_run, write_aligned_board
        from ..catalog import find_named_run, open_catalog

        fit = alignment_from_run(find_named_run(open_catalog(options.data), options.run, purpose=PURPOSE))
    echo(str(fit))
    for visit, (x_um, y_um) in zip(fit.visits, fit.residual_um.tolist(), strict=True):
        echo(f"fiducial {fit.board.fiducials[visit.landmark]}: {x_um:+.2f}, {y_um:+.2f} um from the fit")
    if options.out:
        echo(f"written: {write_aligned_board(fit.board, fit, options.out)}")
    numbers = {name: value for name, value in vars(fit).items() if isinstance(value, int | float)}
    return {
        "run": fit.uid,
        "board": fit.board.name,
        "alignment": asdict(fit.alignment),
        **numbers,
        "residual_um": fit.residual_um,
        "revisit_um": fit.revisit_um,
        "aligned_board_sha256": fit.aligned_board.sha256,
        "out": options.out,
    }
