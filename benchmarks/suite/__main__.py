"""``python -m benchmarks.suite``: image quality and speed of every method, beside a baseline of the same run."""

from __future__ import annotations

import argparse
import json
import sys
from functools import partial
from pathlib import Path
from typing import Any

from cxgi_bluesky.cli._options import Echo, Payload, command_parser, plain
from cxgi_bluesky.cli.program import main
from cxgi_bluesky.errors import CxgiError

PARTS = ("quality", "measured", "speed", "selection", "network", "all")


def build_parser() -> argparse.ArgumentParser:
    """The command line's grammar."""
    parser = command_parser("python -m benchmarks.suite", bench)
    parser.add_argument(
        "part",
        nargs="?",
        default="all",
        choices=PARTS,
        help="what to measure (default: %(default)s, which is quality, speed and, with a folder, measured)",
    )
    parser.add_argument("--seeds", type=int, default=5, help="noise seeds (default: %(default)s)")
    parser.add_argument("--measured", metavar="DIR", help="folder of measured 32 x 32 CSV files")
    parser.add_argument("--orders", nargs="+", metavar="ORDER", help="default: all orders")
    parser.add_argument("--methods", nargs="+", metavar="METHOD", help="default: all; inverse is always run")
    parser.add_argument("--weights", metavar="FILE", help="of the network (default: those of the package)")
    parser.add_argument("--tables", nargs="+", metavar="TABLE", help="of network; default: all")
    parser.add_argument("--peer-minutes", type=float, metavar="M", help="of network: time for PnP-BM3D (default: 9)")
    parser.add_argument("--peer-python", metavar="PYTHON", help="of network: interpreter of the peers' environment")
    parser.add_argument("--out", metavar="FILE.json", help="write the results as JSON")
    parser.add_argument(
        "--markdown", metavar="FILE.md", help="write the tables, between the page's marks if it has any"
    )
    return parser


def bench(options: argparse.Namespace, echo: Echo) -> Payload:
    """Measure image quality and speed of every method."""
    from benchmarks.suite.report import run_bench
    from benchmarks.suite.tables import markdown, write_markdown

    for path in (options.out, options.markdown):
        _check_parent(path)
    results: Payload = plain(
        run_bench(
            _parts(options),
            seeds=options.seeds,
            folder=options.measured,
            orders=options.orders,
            methods=options.methods,
            weights=options.weights,
            network_options=_network_options(options),
            note=lambda text: print(text, file=sys.stderr),
        )
    )
    if options.out is not None:
        _write(Path(options.out), json.dumps(results, indent=1, allow_nan=False) + "\n")
    text = markdown(results)
    if options.markdown is not None:
        write_markdown(options.markdown, text)
    echo(text)
    return results


def _parts(options: argparse.Namespace) -> tuple[str, ...]:
    if options.part != "all":
        if options.measured is not None and options.part != "measured":
            raise CxgiError(f"--measured does not apply to {options.part}: measure part measured, or all")
        return (options.part,)
    return ("quality", "speed") if options.measured is None else ("quality", "measured", "speed")


def _network_options(options: argparse.Namespace) -> dict[str, Any]:
    given = {"tables": options.tables, "peer_minutes": options.peer_minutes, "peer_python": options.peer_python}
    words = {name: value for name, value in given.items() if value is not None}
    if options.part != "network":
        for name in words:
            raise CxgiError(f"--{name.replace('_', '-')} does not apply to {options.part}: measure part network")
        return {}
    if options.methods is not None:
        raise CxgiError("--methods does not apply to network: it compares the network with all others")
    from benchmarks.paper.boards import measure_boards
    from benchmarks.suite.pnp_bm3d import pnp_bm3d

    python = words.pop("peer_python", None)
    return {**words, "boards": measure_boards, "peer": partial(pnp_bm3d, python=python)}


def _check_parent(path: str | None) -> None:
    """Checked before minutes are spent on numbers that cannot be written."""
    if path is not None and not Path(path).absolute().parent.is_dir():
        raise CxgiError(f"folder {Path(path).parent} does not exist: make it first or choose another file")


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise CxgiError(f"{path} cannot be written ({error}): choose another --out") from error


if __name__ == "__main__":
    sys.exit(main(parser=build_parser()))
