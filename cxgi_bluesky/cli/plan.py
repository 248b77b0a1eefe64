"""``cxgi plan``: what to measure within a budget of time or exposure."""

from __future__ import annotations

import argparse
import math
from typing import TYPE_CHECKING

from ..errors import ConfigError
from ._options import Commands, Echo, Payload, add_command

if TYPE_CHECKING:
    from ..reconstruction.planning.budget import MeasurementPlan, PlannedScan

MASK_CHOICES = ("perfect", "maps", "none", "reference")


def add(commands: Commands) -> None:
    """Add the command's grammar."""
    parser = add_command(
        commands,
        "plan",
        plan,
        examples=[
            "cxgi plan --current-pA 3.4 --time 20min --resolve 10um  # what to measure in 20 minutes",
            "cxgi plan --current-pA 3.4 --open-time 5min --board cu32  # by the time that the sample is exposed",
        ],
        data=False,
    )
    parser.add_argument(
        "--current-pA",
        type=float,
        metavar="PA",
        help="what the diode reads through the all-open tile, object out, less dark: a scan's stream incident",
    )
    parser.add_argument("--time", metavar="TIME", help="budget: the whole scan with its overhead, such as 20min")
    parser.add_argument("--open-time", metavar="TIME", help="budget instead: time with the shutter open")
    parser.add_argument("--resolve", metavar="WIDTH", help="finest line that is to be seen, such as 10um")
    parser.add_argument("--board", default="au64", help="name or file of the board (default: %(default)s)")
    parser.add_argument(
        "--masks",
        choices=MASK_CHOICES,
        default="perfect",
        help="as designed, measured, etched with nothing known, or etched with a reference scan (default: %(default)s)",
    )
    parser.add_argument(
        "--overhead", metavar="TIME", default="20ms", help="of an exposure, stage's travel too (default: %(default)s)"
    )
    parser.add_argument(
        "--transmission", type=float, default=0.5, help="of the object, its mean (default: %(default)s)"
    )
    parser.add_argument(
        "--contrast", type=float, default=1.0, help="of the object, brightest less darkest (default: %(default)s)"
    )
    parser.add_argument(
        "--electrometer-fA", type=float, default=20.0, metavar="FA", help="noise in 1 s (default: %(default)s fA rms)"
    )
    parser.add_argument(
        "--photon-keV", type=float, default=17.6, metavar="KEV", help="mean energy (default: %(default)s keV)"
    )


def plan(options: argparse.Namespace, echo: Echo) -> Payload:
    """Choose patterns and exposure time within a budget, and say what image to expect.

    Parameters
    ----------
    options : argparse.Namespace
        `current_pA` (pA), `time` or `open_time`, `resolve`, `board`, `masks`, `overhead`, the object's `transmission`
        and `contrast`, the detector's `electrometer_fA` (fA) and `photon_keV` (keV).
    echo : callable
        Takes a line of text for the user.

    Returns
    -------
    dict
        Board, budget, the best scan with its call, and the alternatives, for ``--json``.
    """
    if options.current_pA is None:
        raise ConfigError(
            "--current-pA is missing: give what the diode reads through the all-open tile with the object out (pA), as "
            "in the stream incident of an earlier scan"
        )
    for name, value in (("--electrometer-fA", options.electrometer_fA), ("--photon-keV", options.photon_keV)):
        if not (math.isfinite(value) and value > 0):
            raise ConfigError(f"{name} {value:g}: give a number above 0")
    if (options.time is None) == (options.open_time is None):
        raise ConfigError("a budget is either --time or --open-time: give one of them")
    with echo.working("planning"):
        from ..reconstruction.planning.budget import plan_measurement
        from ..reconstruction.planning.report import LENGTHS_UM, SECONDS, parse_quantity, to_payload
        from ..simulation.base import Detector

        made = plan_measurement(
            options.board,
            current_pa=options.current_pA,
            detector=Detector(photon_energy_kev=options.photon_keV, electrometer_fa=options.electrometer_fA),
            time_s=parse_quantity("--time", options.time, SECONDS, "20min"),
            open_s=parse_quantity("--open-time", options.open_time, SECONDS, "10min"),
            masks=options.masks,
            line_um=parse_quantity("--resolve", options.resolve, LENGTHS_UM, "10um"),
            overhead_s=parse_quantity("--overhead", options.overhead, SECONDS, "20ms") or 0.0,
            transmission=options.transmission,
            contrast=options.contrast,
        )
    _echo_plan(made, options, echo)
    return to_payload(made)


# ---------------------------------------------------------------- for people, for programs


def _echo_plan(made: MeasurementPlan, options: argparse.Namespace, echo: Echo) -> None:
    board, budget = made.board, options.time or f"{options.open_time} open"
    line = "" if made.line_um is None else f", line of {made.line_um:g} um"
    echo(
        f"{board.name}: {board.size} x {board.size} pixels of {board.pixel_um:g} um, D_r {board.d_r:.0%}, masks "
        f"{made.masks}; {options.current_pA:g} pA, {budget}{line}"
    )
    echo("")
    wanted = [] if made.line_um is None else ["line shows"]
    columns = ("patterns", "order", "exposure", "in all", "open", "PSNR dB (16..84 %)", *wanted, "")
    marks = {made.for_line: "<- line", made.best: "<- best"}
    scans = made.alternatives()
    rows = [(*_row(scan), marks.get(scan, "")) for scan in scans]
    echo.table(
        columns,
        rows,
        right=(0, 2, 3, 4, 6) if wanted else (0, 2, 3, 4),
        styles=["bold" if scan == made.best else "" for scan in scans],
    )
    echo("")
    for note in made.notes:
        echo(f"note: {note}", style="yellow")
    echo(made.call(made.best))
    if made.for_line is not None:
        echo("")
        echo("or, for the line:")
        echo(made.call(made.for_line))


def _row(scan: PlannedScan) -> list[str]:
    expected, patterns = scan.expected, scan.patterns
    spread = f"{expected.psnr_db:.1f} ({expected.psnr_low_db:.1f}..{expected.psnr_high_db:.1f})"
    line = [] if expected.line is None else [f"{expected.line:.0%}"]
    times = (f"{scan.exposure_s:.4g} s", _minutes(scan.time_s), _minutes(scan.open_s))
    return [str(patterns.count), patterns.order, *times, spread, *line]


def _minutes(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.1f} min"
