"""``python -m benchmarks.peers.published``: networks published with their weights, beside ours, in one run.

One thread. Prints one JSON object; --markdown writes the tables from the same results.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from benchmarks.peers.published.folder import set11_folder, set11_images
from benchmarks.peers.published.set11 import METHODS, Given, set11_rows
from benchmarks.suite.report import machine
from benchmarks.suite.timing import one_thread
from cxgi_bluesky.cli._options import plain


def main() -> None:
    """Measure and print."""
    options = build_parser().parse_args()
    results = plain(published(options))
    text = json.dumps(results, indent=1, allow_nan=False)
    print(text)
    if options.out is not None:
        options.out.write_text(text + "\n", encoding="utf-8")


def build_parser() -> argparse.ArgumentParser:
    """The command line's grammar."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.peers.published", description=__doc__)
    parser.add_argument("--published", type=Path, metavar="DIR", help="the peers' repositories, each as it is cloned")
    parser.add_argument("--set11", type=Path, metavar="DIR", help="the 11 images (default: those in --published)")
    parser.add_argument("--weights", metavar="FILE", help="of our network (default: those of the package)")
    parser.add_argument("--only", nargs="+", choices=METHODS, default=METHODS, metavar="METHOD")
    parser.add_argument("--out", type=Path, metavar="FILE.json", help="write the results as JSON")
    return parser


def published(options: argparse.Namespace) -> dict[str, Any]:
    """All results of a run."""
    given = Given(options.published, options.weights)
    images = set11_images(options.set11 or set11_folder(given.peers()))
    with one_thread():
        rows = set11_rows(images, options.only, given, lambda text: print(text, file=sys.stderr))
    return {"benchmark": "peers.published", **machine(), "threads": 1, "set11": {"rows": rows}}


if __name__ == "__main__":
    main()
