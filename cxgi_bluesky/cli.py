"""The command line: ``cxgi demo``, ``cxgi runs``, ``cxgi show``, ``cxgi reconstruct``.

Every command has ``--json``: one JSON object on stdout and nothing else there; NaN is null.
Exit status: 0 done, 2 the request cannot be met (one line says why), 1 anything else.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

from . import __version__
from .errors import CxgiError
from .measurement import Coding
from .patterns import ORDERS, PatternSet

Payload = dict[str, Any]
METHOD_NAMES = ("inverse", "correlation", "tv", "ch-mwcnn")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    options = build_parser().parse_args(arguments)
    say: Callable[[str], None] = (lambda text: None) if options.json else print
    try:
        payload = options.command(options, say)
    except CxgiError as error:
        if options.json:
            print(json.dumps({"error": str(error)}))
        print(f"cxgi: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:
        return 1
    except KeyboardInterrupt:
        print("cxgi: interrupted", file=sys.stderr)
        return 130
    if options.json:
        print(json.dumps(plain(payload), allow_nan=False))
    return 0


def plain(value: Any) -> Any:
    """Values that JSON knows: NaN and infinity become None, arrays and numpy numbers plain ones."""
    if isinstance(value, dict):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if hasattr(value, "tolist"):
        return plain(value.tolist())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value


# ---------------------------------------------------------------- commands


def demo(options: argparse.Namespace, say: Callable[[str], None]) -> Payload:
    """Scan a simulated object and reconstruct it."""
    from .demo import run_demo

    return run_demo(
        object_name=options.object,
        board=options.board,
        fraction=options.fraction,
        seed=options.seed,
        out=options.out,
        data=options.data,
        say=say,
    )


def runs(options: argparse.Namespace, say: Callable[[str], None]) -> Payload:
    """List the newest runs, newest last."""
    from .catalog import data_folder, open_catalog, summarise

    if options.last < 1:
        raise CxgiError(f"--last {options.last}: give a positive number of runs")
    catalog = open_catalog(options.data)
    listed = [summarise(run) for run in catalog.values().tail(options.last)]
    say(f"{len(listed)} of {len(catalog)} runs in {data_folder(options.data)}")
    for row in listed:
        say(_line_of(row))
    return {"runs": listed, "total": len(catalog), "data": str(data_folder(options.data))}


def _line_of(row: Payload) -> str:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(row["time"]))
    what = row["purpose"] or "-"
    if row["raw_uids"]:
        what = f"{row['method']} of {', '.join(uid[:8] for uid in row['raw_uids'])}, {row['exposures']} patterns"
    elif row["patterns"]:
        what = f"scan, board {row['board']}, {row['exposures'] or '?'} of {row['patterns']} patterns"
    return f"{row['uid'][:8]}  {when}  {row['exit_status']:<10} {what}"


def show(options: argparse.Namespace, say: Callable[[str], None]) -> Payload:
    """Say what a run holds; with --out, write the image of a reconstruction."""
    from .catalog import find_run, open_catalog, read_exposures, read_image, summarise

    run = find_run(open_catalog(options.data), options.run)
    payload: Payload = {**summarise(run), "start": dict(run.metadata["start"]), "stop": run.metadata.get("stop")}
    derived = bool(payload["raw_uids"])
    if not derived and payload["patterns"]:
        exposures = read_exposures(run)
        payload |= {"exposures": len(exposures), "reference_exposures": exposures.reference_exposures}
        payload["streams"] = {name: len(stream) for name, stream in exposures.streams.items()}
    if options.out is not None:
        if not derived:
            raise CxgiError(
                f"run {payload['uid'][:8]} has no image of its own: use cxgi reconstruct {payload['uid'][:8]}"
            )
        from .reconstruction.result import Reconstruction

        words = payload["start"]["cxgi"]
        image = Reconstruction(
            read_image(run), words["scale"], words["method"], {}, words["seconds"], words["exposures"]
        )
        payload["out"] = str(image.save(options.out))
    say(_line_of(payload))
    for key, value in payload["start"]["cxgi"].items() if "cxgi" in payload["start"] else ():
        say(f"  {key}: {value}")
    for key in ("streams", "out"):
        if payload.get(key):
            say(f"  {key}: {payload[key]}")
    return payload


def reconstruct(options: argparse.Namespace, say: Callable[[str], None]) -> Payload:
    """Reconstruct a run of the catalog, or a file of buckets."""
    from .reconstruction.result import check_image_path

    is_file = Path(options.target).suffix.lower() == ".csv" or Path(options.target).is_file()
    out = check_image_path(
        options.out if options.out is not None else f"{Path(options.target).stem}-{options.method}.png"
    )
    result, derived_uid = (_from_file if is_file else _from_run)(options)
    result.save(out)
    say(
        f"{options.method}: {result.exposures} patterns of {len(result.image)} x {len(result.image)}, "
        f"scale {result.scale}, {result.seconds * 1e3:.1f} ms -> {out}"
    )
    _say_whether_to_trust(result.quality.get("held_out"), say)
    if derived_uid is not None:
        say(f"stored as run {derived_uid[:8]}")
    return {
        "method": result.method,
        "size": len(result.image),
        "exposures": result.exposures,
        "seconds": result.seconds,
        "scale": result.scale,
        "out": str(out),
        "run_uid": derived_uid,
        "parameters": dict(result.parameters),
        "quality": dict(result.quality),
        "source": dict(result.source),
    }


def _say_whether_to_trust(score: Payload | None, say: Callable[[str], None]) -> None:
    if score is None:
        return
    text = f"{score['patterns']} patterns held back: {score['explained']:.0%} of their power predicted"
    say(text if score["supported"] else f"WARNING: do not trust this picture, the data do not support it ({text})")


def _from_file(options: argparse.Namespace) -> tuple[Any, None]:
    from .measurement import Measurement
    from .reconstruction.held_out import checked_reconstruction

    if options.size is None or options.coding is None:
        raise CxgiError(
            f"file {options.target} says neither size nor coding: give --size N --coding signed (or binary, ...)"
        )
    if options.coding == "signed" and (options.d_r is not None or options.dark is not None):
        raise CxgiError("--d-r and --dark do not apply to --coding signed: its buckets are sums of H_k * image")
    measurement = Measurement.from_csv(
        options.target,
        size=options.size,
        coding=options.coding,
        d_r=1.0 if options.d_r is None else options.d_r,
        dark=0.0 if options.dark is None else options.dark,
    )
    pattern_set = _chosen_patterns(options, measurement.size)
    if pattern_set is not None:
        measurement = measurement.subset(pattern_set)
    return checked_reconstruction(measurement, method=options.method), None


def _from_run(options: argparse.Namespace) -> tuple[Any, str | None]:
    for name in ("size", "coding", "d_r", "dark"):
        if getattr(options, name) is not None:
            raise CxgiError(
                f"--{name.replace('_', '-')} is for files; a run brings its own (no file {options.target!r} here)"
            )
    from .catalog import find_run, open_catalog
    from .session import reconstruct_run

    catalog = open_catalog(options.data)
    run = find_run(catalog, options.target)
    words = run.metadata["start"].get("cxgi") or {}
    pattern_set = _chosen_patterns(options, (words.get("pattern_set") or {}).get("size"))
    return reconstruct_run(catalog, run, method=options.method, pattern_set=pattern_set)


def _chosen_patterns(options: argparse.Namespace, size: int | None) -> PatternSet | None:
    """The subset that --fraction, --order and --order-seed ask for; None means all patterns."""
    if options.fraction is None:
        for name in ("order", "order_seed"):
            if getattr(options, name) is not None:
                raise CxgiError(f"--{name.replace('_', '-')} needs --fraction: the order picks which patterns are kept")
        return None
    if size is None:
        raise CxgiError("--fraction needs a mask scan: this run has no pattern set")
    return PatternSet.from_fraction(size, options.fraction, options.order or "cake-cutting", options.order_seed)


# ---------------------------------------------------------------- parser


def build_parser() -> argparse.ArgumentParser:
    """The command line's grammar."""
    parser = argparse.ArgumentParser(prog="cxgi", description="Computational x-ray ghost imaging with Bluesky.")
    parser.add_argument("--version", action="version", version=f"cxgi {__version__}")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    def command(name: str, function: Callable[..., Payload], *, data: bool = True) -> argparse.ArgumentParser:
        words = (function.__doc__ or "").splitlines()[0]
        sub = commands.add_parser(name, help=words, description=words)
        sub.set_defaults(command=function)
        sub.add_argument("--json", action="store_true", help="one JSON object on stdout, nothing else there")
        if data:
            sub.add_argument("--data", help="data folder (default: CXGI_DATA, else the user's data folder)")
        return sub

    sub = command("demo", demo)
    sub.add_argument("--object", default="gold", help="gold or CAS (default: %(default)s)")
    sub.add_argument("--board", default="au64", help="au64, cu32 or a board file (default: %(default)s)")
    sub.add_argument("--fraction", type=float, default=0.1875, help="sampling fraction M/N (default: %(default)s)")
    sub.add_argument("--seed", type=int, default=1, help="seed of the simulated noise (default: %(default)s)")
    sub.add_argument("--out", default="demo-output", help="folder for the pictures (default: %(default)s)")

    sub = command("runs", runs)
    sub.add_argument("--last", type=int, default=50, help="how many of the newest runs (default: %(default)s)")

    sub = command("show", show)
    sub.add_argument("run", metavar="RUN", help="uid of a run, or its beginning")
    sub.add_argument("--out", help="write the image of a reconstruction: .png, .npy or .tiff")

    sub = command("reconstruct", reconstruct)
    sub.add_argument("target", metavar="RUN|FILE", help="uid of a run, or a CSV file: pattern_index,bucket[,sigma]...")
    sub.add_argument("--method", default="tv", choices=METHOD_NAMES, help="default: %(default)s")
    sub.add_argument("--out", help="image.png, .npy or .tiff (default: NAME-METHOD.png)")
    sub.add_argument("--size", type=int, help="file: pixels per side")
    sub.add_argument("--coding", choices=get_args(Coding), help="file: how the buckets were taken")
    sub.add_argument("--d-r", type=float, help="file: modulation depth ratio of the masks (default: 1)")
    sub.add_argument("--dark", type=float, help="file: signal without beam (default: 0)")
    sub.add_argument("--fraction", type=float, help="use only this fraction of all N patterns")
    sub.add_argument("--order", choices=tuple(ORDERS), help="which patterns that are (default: cake-cutting)")
    sub.add_argument("--order-seed", type=int, help="seed of --order random")
    return parser


if __name__ == "__main__":
    sys.exit(main())
