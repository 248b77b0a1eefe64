"""``cxgi reconstruct``: an image from a run or a file of buckets."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, get_args

from ..errors import ConfigError
from ..masks.orders import DEFAULT_ORDER, ORDERS, SEEDED
from ..masks.pattern_set import CHOSEN, PatternSet
from ..measurement.bucket_files.read_write import SUFFIXES
from ..measurement.coefficients import Coding
from ..measurement.documents import cxgi_block
from ._options import QUERY_HELP, Commands, Echo, Payload, add_command, refuse_for_signed, tile_maps_of
from ._runs import RUN_HELP, complete_runs_and_files, set_completer

METHOD_NAMES = ("inverse", "correlation", "tval3", "tv", "ch-mwcnn")


def add(commands: Commands) -> None:
    """Add the command's grammar."""
    parser = add_command(
        commands,
        "reconstruct",
        reconstruct,
        examples=[
            "cxgi reconstruct last  # the newest scan, by total variation",
            "cxgi reconstruct 12 --method ch-mwcnn --details  # scan number 12 by the network, with the uncertainty",
            "cxgi reconstruct buckets.csv --size 64 --coding binary --d-r 0.83  # a table of another program",
        ],
    )
    target = parser.add_argument(
        "target",
        metavar="RUN|FILE",
        nargs="?",
        help=f"{RUN_HELP.format(last='the newest image scan')}; or a file: an exported run (.nxs, .h5), or buckets "
        "(.csv, .npz, .h5)",
    )
    set_completer(target, complete_runs_and_files)
    parser.add_argument("--query", metavar="CONDITION", help=f"many runs instead: {QUERY_HELP}")
    parser.add_argument("--scheduler", metavar="ADDRESS", help="query: a Dask cluster, such as tcp://127.0.0.1:8786")
    parser.add_argument("--workers", type=int, help="query: processes on this machine (default: one a core, 4 at most)")
    parser.add_argument("--again", action="store_true", help="query: also runs that have such an image already")
    parser.add_argument("--method", choices=METHOD_NAMES, help="default: tv; for a speckle run correlation")
    parser.add_argument("--weights", metavar="FILE", help="ch-mwcnn: weights of your own training (default: shipped)")
    parser.add_argument("--out", help="image.png, .npy or .tiff (default: NAME-METHOD.png; of a run, UID-METHOD.png)")
    parser.add_argument("--size", type=int, help="file: pixels per side, if it does not say")
    parser.add_argument(
        "--coding", choices=get_args(Coding), help="file: how the buckets were taken, if it does not say"
    )
    parser.add_argument(
        "--d-r", type=float, help="file: modulation depth ratio of the masks (default: what it says, else 1)"
    )
    parser.add_argument("--dark", type=float, help="file: signal without beam (default: what it says, else 0)")
    parser.add_argument(
        "--speckles", help="speckle run: the file of its recorded patterns (default: as registered in the data folder)"
    )
    parser.add_argument("--fraction", type=float, help="use only this fraction of all N patterns")
    parser.add_argument(
        "--order",
        choices=tuple(ORDERS),
        metavar="ORDER",
        help=f"which patterns that are: %(choices)s (default: that of the run or file, else {DEFAULT_ORDER})",
    )
    parser.add_argument("--order-seed", type=int, help="seed of a random order")
    parser.add_argument(
        "--reference", metavar="UID", help="run: reference scan to use, or none (default: the one that the run names)"
    )
    parser.add_argument(
        "--dark-run", metavar="UID", help="run: dark scan to use, or none (default: the one that the run names)"
    )
    parser.add_argument(
        "--tile-maps", metavar="FILE", help="measured masks of the board: an HDF5 file or a folder of images"
    )
    parser.add_argument("--board", metavar="NAME|FILE", help="of the tile maps (default: the run's, if it ships)")
    parser.add_argument(
        "--no-record", dest="record", action="store_false", help="run: do not store the image in the catalog"
    )
    parser.add_argument(
        "--details",
        action="store_true",
        help="also write NAME-measured, NAME-unmeasured and NAME-uncertainty beside the image",
    )
    parser.add_argument(
        "--residual",
        action="store_true",
        help="look for lines and points that the image has lost although the data hold them; also write NAME-residual",
    )


def reconstruct(options: argparse.Namespace, echo: Echo) -> Payload:
    """Reconstruct a run of the catalog or of a file, or a file of buckets.

    Parameters
    ----------
    options : argparse.Namespace
        `target`, `method`, patterns to use, runs and files that belong to it, `details`, `residual`, `out` and `data`.
    echo : callable
        Takes a line of text for the user.

    Returns
    -------
    dict
        Method, files, uid of the derived run and what is known of the image, for ``--json``.
    """
    if options.query is not None:
        return _reconstruct_many(options, echo)
    if options.target is None:
        raise ConfigError("name a run or a file, or give the condition on many runs, --query")
    _refuse(options, ("scheduler", "workers", "again"), "is for many runs: give --query too")
    make = _choose_source(options.target)
    if options.board is not None and options.tile_maps is None:
        raise ConfigError("--board is for --tile-maps: it says of which board they are")
    if options.weights is not None and options.method != "ch-mwcnn":
        raise ConfigError("--weights is for --method ch-mwcnn")
    by = "" if options.method is None else f" by {options.method}"
    more = ", ".join(name for name in ("details", "residual") if getattr(options, name))
    with echo.working(f"reconstructing{by}{more and f', {more}'}"):
        from ..reconstruction.result import check_image_path

        check_image_path(options.out if options.out is not None else "picture.png")  # before work is spent on the image
        result, derived_uid = make(options, echo)
    out = Path(
        options.out if options.out is not None else f"{_name_of(options.target, make, result)}-{result.method}.png"
    )
    result.save(out)
    details = result.save_details(out) if options.details else {}
    made, *verdicts = result.summary()
    for line in (f"{made} -> {out}", *verdicts):
        echo(line)
    if options.details:
        _echo_details(result, details, echo)
    if options.residual:
        details["residual"] = result.save_residual(out)
        echo(f"residual -> {details['residual']}")
    if derived_uid is not None:
        echo(f"stored as run {derived_uid[:8]}")
    return {
        "method": result.method,
        "size": len(result.image),
        "exposures": result.exposures,
        "seconds": result.seconds,
        "scale": result.scale,
        "out": str(out),
        "details": {name: str(path) for name, path in details.items()},
        "uncertainty_kind": result.uncertainty_kind,
        "run_uid": derived_uid,
        "parameters": dict(result.parameters),
        "quality": dict(result.quality),
        "sampling_gaps": list(result.sampling_gaps),
        "source": dict(result.source),
    }


def _choose_source(target: str) -> Callable[[argparse.Namespace, Echo], tuple[Any, str | None]]:
    """Tell an exported run, a file of buckets and a run of the catalog apart."""
    path = Path(target)
    if path.suffix.lower() in (".nxs", ".h5", ".hdf5"):
        from ..catalog.nexus_file import is_run_file

        if is_run_file(path):
            return _from_run_file
    return _from_file if path.suffix.lower() in SUFFIXES or path.is_file() else _from_run


def _name_of(target: str, make: Callable[..., Any], result: Any) -> str:
    """Name of an image's file: of the file that it is made of, or of the run, whatever it was called by ("last")."""
    return str(result.source["raw_uids"][-1])[:8] if make is _from_run else Path(target).stem


def _echo_details(result: Any, details: dict[str, Path], echo: Echo) -> None:
    """Report where the details are, how much of the image was measured, and why a detail is missing."""
    for name, path in details.items():
        echo(f"{name} -> {path}")
    share = result.quality.get("unmeasured_share")
    if share is not None:
        echo(f"power of the image: {1 - share:.1%} in measured patterns, {share:.1%} in patterns not measured")
    if "uncertainty" in details:
        return
    if result.uncertainty is not None:
        echo("no uncertainty: it is not finite for these data, nothing was written")
    elif result.method == "ch-mwcnn":
        echo(
            "no uncertainty: these weights were trained without it, train them on (uncertainty_steps), or use method tv"
        )
    else:
        echo(f"no uncertainty: method {result.method} has none, tv and ch-mwcnn have")


def _from_file(options: argparse.Namespace, echo: Echo) -> tuple[Any, None]:
    from ..measurement.measurement import Measurement
    from ..reconstruction.cross_validation import reconstruct_and_check
    from ..reconstruction.registry import default_method

    if options.reference is not None:
        raise ConfigError("--reference is for runs: a file has no reference scan")
    if options.dark_run is not None:
        raise ConfigError("--dark-run is for runs: give the dark of a file with --dark")
    if options.speckles is not None:
        raise ConfigError("--speckles is for speckle runs: a file of buckets belongs to Hadamard masks")
    measurement = Measurement.from_file(
        options.target, size=options.size, coding=options.coding, d_r=options.d_r, dark=options.dark
    )
    refuse_for_signed(options, measurement.source["coding"])
    maps = tile_maps_of(options, echo, size=measurement.size)
    measurement = measurement if maps is None else measurement.with_tile_maps(maps)
    pattern_set = _chosen_patterns(
        options, measurement.size, measurement.source.get("order"), measurement.source.get("order_seed")
    )
    if pattern_set is not None:
        measurement = measurement.subset(pattern_set)
    method = options.method or default_method("hadamard")
    return reconstruct_and_check(measurement, method=method, **_checks(options), **_method_options(options)), None


def _from_run(options: argparse.Namespace, echo: Echo) -> tuple[Any, str | None]:
    _refuse_for_runs(options, f"a run brings its own (no file {options.target!r} here)")
    from ..catalog import find_named_run, open_catalog

    catalog = open_catalog(options.data)
    run = find_named_run(catalog, options.target, purpose="image")
    return _reconstruct_run(options, echo, catalog, run, record=options.record)


def _from_run_file(options: argparse.Namespace, echo: Echo) -> tuple[Any, str | None]:
    _refuse_for_runs(options, f"{options.target} is an exported run, which brings its own")
    from ..catalog.nexus_file import read_run_file

    runs = read_run_file(options.target)
    return _reconstruct_run(options, echo, runs, runs.exported, record=False)


def _refuse_for_runs(options: argparse.Namespace, why: str) -> None:
    _refuse(options, ("size", "coding", "d_r", "dark"), f"is for files of buckets; {why}")


def _refuse(options: argparse.Namespace, names: Iterable[str], why: str) -> None:
    for name in names:
        if getattr(options, name) not in (None, False):
            raise ConfigError(f"--{name.replace('_', '-')} {why}")


_OF_ONE_RUN = (
    *("out", "size", "coding", "d_r", "dark", "speckles", "fraction", "order", "order_seed"),
    *("tile_maps", "board"),
)


def _reconstruct_many(options: argparse.Namespace, echo: Echo) -> Payload:
    """Reconstruct all runs that meet a condition, and report those that failed."""
    from ..session.many_runs import reconstruct_runs

    if options.target is not None:
        raise ConfigError(f"{options.target} and --query: give one of them")
    _refuse(options, _OF_ONE_RUN, "is for one run or file: leave it out with --query")
    if not options.record:
        raise ConfigError("--no-record is for one run: images of many are stored and nowhere else")
    if options.weights is not None and options.method != "ch-mwcnn":
        raise ConfigError("--weights is for --method ch-mwcnn")
    result = reconstruct_runs(
        options.data,
        options.query,
        method=options.method,
        scheduler=options.scheduler,
        workers=options.workers,
        again=options.again,
        progress=not echo.quiet,
        reference_uid=options.reference,
        dark_uid=options.dark_run,
        **_checks(options),
        **_method_options(options),
    )
    echo(f"images stored: {len(result.made)}; there already: {len(result.skipped)}; failed: {len(result.failed)}")
    for uid, reason in result.failed.items():
        echo(f"run {uid[:8]}: {reason}")
    return {
        "made": result.made,
        "skipped": result.skipped,
        "failed": result.failed,
        "exit_code": int(bool(result.failed)),
    }


def _reconstruct_run(
    options: argparse.Namespace, echo: Echo, catalog: Any, run: Any, *, record: bool
) -> tuple[Any, str | None]:
    from ..catalog import data_folder
    from ..session.reconstruct_run import reconstruct_run

    block = cxgi_block(run.metadata["start"])
    measured = block.get("pattern_set")
    measured = measured if isinstance(measured, dict) else {}
    speckled = measured.get("basis") == "speckle"
    if speckled and options.fraction is not None:
        raise ConfigError("--fraction is for Hadamard masks: the run is one of speckle patterns, which have no order")
    if options.speckles is not None and not speckled:
        raise ConfigError("--speckles is for speckle runs: this run has no recorded patterns")
    if options.tile_maps is not None and speckled:
        raise ConfigError("--tile-maps is for masks: the run is one of speckle patterns")
    pattern_set = _chosen_patterns(options, measured.get("size"), measured.get("order"), measured.get("seed"))
    return reconstruct_run(
        catalog,
        run,
        method=options.method,
        pattern_set=pattern_set,
        reference_uid=options.reference,
        dark_uid=options.dark_run,
        tile_maps=tile_maps_of(options, echo, size=measured.get("size"), board=block.get("board")),
        record=record,
        **_checks(options),
        speckles=options.speckles,
        folder=data_folder(options.data),
        **_method_options(options),
    )


def _checks(options: argparse.Namespace) -> dict[str, bool]:
    return {"details": options.details, "residual": options.residual}


def _method_options(options: argparse.Namespace) -> dict[str, Any]:
    return {} if options.weights is None else {"weights": options.weights}


def _chosen_patterns(
    options: argparse.Namespace, size: int | None, order: str | None, seed: int | None
) -> PatternSet | None:
    """The subset that --fraction asks for, of the order that was measured unless another is named; None means all."""
    if options.fraction is None:
        for name in ("order", "order_seed"):
            if getattr(options, name) is not None:
                raise ConfigError(
                    f"--{name.replace('_', '-')} needs --fraction: the order picks which patterns are kept"
                )
        return None
    if size is None:
        raise ConfigError("--fraction needs a mask scan: this run has no pattern set")
    if order == CHOSEN and options.order is None:
        raise ConfigError("--fraction needs an --order: the patterns of this run were chosen while it was measured")
    if options.order is not None or options.order_seed is not None or order is None:
        order, seed = options.order or order or DEFAULT_ORDER, options.order_seed
        _check_order_seed(order, seed)
    return PatternSet.from_fraction(size, options.fraction, order, seed)


def _check_order_seed(order: str, seed: int | None) -> None:
    """Name the option where the order alone would name the seed."""
    if order in SEEDED and seed is None:
        raise ConfigError(f"--order {order} is drawn at random: give the seed that it was drawn with, --order-seed N")
    if order not in SEEDED and seed is not None:
        raise ConfigError(f"--order-seed {seed} is for {', '.join(SEEDED)}: leave it out for order {order}")
