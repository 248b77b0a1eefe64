"""``python -m benchmarks.paper``: the paper's Figures 2-4 on the simulated beamline."""

from __future__ import annotations

import argparse
import os
import sys
import time
from pathlib import Path

from cxgi_bluesky.cli._options import Echo, Payload, command_parser, plain
from cxgi_bluesky.cli.program import main

FIGURES = ("fig2", "fig3", "fig4")


def build_parser() -> argparse.ArgumentParser:
    """The command line's grammar."""
    parser = command_parser("python -m benchmarks.paper", reproduce)
    parser.add_argument("figures", nargs="*", metavar="FIGURE", help=f"of {', '.join(FIGURES)} (default: all)")
    parser.add_argument("--seeds", type=int, default=3, help="boards and noises to repeat with (default: %(default)s)")
    parser.add_argument("--out", default="reproduction", metavar="DIR", help="default: %(default)s")
    parser.add_argument(
        "--processes", type=int, default=min(2, os.cpu_count() or 1), help="to work in (default: %(default)s)"
    )
    return parser


def reproduce(options: argparse.Namespace, echo: Echo) -> Payload:
    """Scan, reconstruct and compare with what the paper reports; writes images, a page and JSON."""
    from benchmarks.paper import drawing, report, run

    figures = run.check_request(options.figures, options.seeds, options.processes)
    out = report.output_folder(Path(options.out))
    started = time.monotonic()
    results = run.run_jobs(
        run.jobs_of(figures, options.seeds),
        processes=options.processes,
        echo=lambda text: print(text, file=sys.stderr, flush=True),
    )
    numbers: Payload = plain(run.numbers_of(results, figures, options.seeds))
    numbers["minutes"] = round((time.monotonic() - started) / 60, 1)
    drawing.draw_figures(out / "reproduction", results, numbers, figures)
    text = report.write(out, numbers, figures)
    echo(text)
    return {**numbers, "out": str(out)}


if __name__ == "__main__":
    sys.exit(main(parser=build_parser()))
