"""``python -m benchmarks.peers.published``: networks published with their weights, beside ours, in one run.

One thread. Prints one JSON object; --markdown renews the tables from the same results.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path
from typing import Any

import torch

from benchmarks.peers.published.anchors import FRACTION, anchor_rows
from benchmarks.peers.published.folder import SIDE, set11_folder, set11_images
from benchmarks.peers.published.methods import METHODS, PNP, Given
from benchmarks.peers.published.set11 import TOLD_DB, set11_rows
from benchmarks.peers.published.tables import markdown
from benchmarks.peers.published.tuned import SCHEDULES
from benchmarks.suite.report import machine
from benchmarks.suite.tables import print_and_write
from benchmarks.suite.timing import one_thread
from cxgi_bluesky.cli._options import plain
from cxgi_bluesky.errors import CxgiError


def main(arguments: list[str] | None = None) -> None:
    """Measure, print, and write what was asked for."""
    options = build_parser().parse_args(arguments)
    try:
        results = plain(published(options))
        print_and_write(results, options.out, options.markdown, markdown)
    except (CxgiError, OSError) as error:
        sys.exit(f"error: {error}")


def build_parser() -> argparse.ArgumentParser:
    """The command line's grammar."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers.published", description=__doc__)
    parser.add_argument("--published", type=Path, metavar="DIR", help="the peers' repositories, each as it is cloned")
    parser.add_argument("--set11", type=Path, metavar="DIR", help="the 11 images (default: those in --published)")
    parser.add_argument("--weights", metavar="FILE", help="of our network (default: those of the package)")
    parser.add_argument("--only", nargs="+", choices=METHODS, default=METHODS, metavar="METHOD", help="default: all")
    parser.add_argument("--seeds", type=int, default=5, help="noise seeds of the anchors (default: %(default)s)")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="write the results as JSON")
    parser.add_argument("--markdown", type=Path, metavar="FILE.md", help="page with the suite's marks, or a new one")
    return parser


def published(options: argparse.Namespace) -> dict[str, Any]:
    """All results of a run."""
    given = Given(options.published, options.weights)
    images = set11_images(options.set11 or set11_folder(given.peers()))
    with one_thread():
        set11 = set11_rows(images, options.only, given, _note)
        anchors = anchor_rows(options.only, given, options.seeds, _note)
    return {
        "benchmark": "peers.published",
        **machine(),
        "torch": torch.__version__,
        "threads": 1,
        "weights": "of the package" if options.weights is None else Path(options.weights).name,
        "set11": {"size": SIDE, "images": len(images), "told_db": TOLD_DB, "rows": set11},
        "anchors": {"fraction": FRACTION, "seeds": options.seeds, "rows": anchors},
        "schedules": _schedules() if PNP in options.only else [],
    }


def _schedules() -> list[dict[str, Any]]:
    return [
        {
            "noise": "none" if level is None else f"{level:g} dB",
            "fraction": fraction,
            "order": order,
            "settings": str(schedule),
        }
        for (level, fraction, order), schedule in SCHEDULES.items()
    ]


def _note(text: str) -> None:
    print(text, file=sys.stderr)


if __name__ == "__main__":
    main()
