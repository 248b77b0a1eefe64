"""``cxgi runs``, ``show``, ``export`` and ``recover``: what the catalog holds, a file of it, and what it lacks."""

from __future__ import annotations

import argparse
import time
from typing import Any

from ..errors import ConfigError
from ..measurement.documents import cxgi_block
from ._options import RUN_HELP, Commands, Echo, Payload, add_command

EXPORT_FORMATS = ("nexus", "hdf5", "csv", "tiff", "png", "gif")


def add(commands: Commands) -> None:
    """Add the commands' grammar."""
    parser = add_command(commands, "runs", runs)
    parser.add_argument("--last", type=int, default=50, help="how many of the newest runs (default: %(default)s)")
    parser.add_argument("--rebuild", action="store_true", help="make the folder's index of runs anew from its catalog")

    parser = add_command(commands, "show", show)
    parser.add_argument("run", metavar="RUN", help=RUN_HELP)
    parser.add_argument("--out", help="write the image of a reconstruction: .png, .npy or .tiff")

    parser = add_command(commands, "export", export)
    parser.add_argument("runs", metavar="RUN", nargs="+", help=RUN_HELP)
    parser.add_argument("--format", choices=EXPORT_FORMATS, default="nexus", help="of the file (default: %(default)s)")
    parser.add_argument("--out", metavar="DIR", default=".", help="folder of the files (default: this one)")
    parser.add_argument("--force", action="store_true", help="replace files that exist")

    add_command(commands, "recover", recover)


def runs(options: argparse.Namespace, echo: Echo) -> Payload:
    """List the newest runs, newest last.

    Parameters
    ----------
    options : argparse.Namespace
        `last` (number of runs), `rebuild` and `data`.
    echo : callable
        Takes a line of text for the user.

    Returns
    -------
    dict
        Summaries of the runs, the number of all, and where they are, for ``--json``.
    """
    from ..catalog import data_folder, data_location, list_runs

    if options.last < 1:
        raise ConfigError(f"--last {options.last}: give a positive number of runs")
    listed, total = list_runs(options.data, last=options.last, rebuild=options.rebuild)
    location = data_location(options.data) or data_folder()
    echo(f"{len(listed)} of {total} runs in {location}")
    for row in listed:
        echo(_line_of(row))
    return {"runs": listed, "total": total, "data": str(location)}


def export(options: argparse.Namespace, echo: Echo) -> Payload:
    """Write runs into files for others: the whole measurement, its buckets, or its newest image.

    Parameters
    ----------
    options : argparse.Namespace
        `runs`, `format`, `out`, `force` and `data`.
    echo : callable
        Takes a line of text for the user.

    Returns
    -------
    dict
        Uid and file of each run, for ``--json``.
    """
    from ..catalog import export_run, find_named_run, open_catalog

    catalog = open_catalog(options.data)
    files = []
    for name in options.runs:
        run = find_named_run(catalog, name)
        path = export_run(catalog, run, file_format=options.format, out=options.out, overwrite=options.force)
        files.append({"run_uid": run.metadata["start"]["uid"], "out": str(path)})
        echo(f"run {files[-1]['run_uid'][:8]} -> {path}")
    return {"format": options.format, "files": files}


def recover(options: argparse.Namespace, echo: Echo) -> Payload:
    """Store the runs whose processes were cut off, or that the catalog did not take, from their journals.

    Parameters
    ----------
    options : argparse.Namespace
        `data`.
    echo : callable
        Takes a line of text for the user.

    Returns
    -------
    dict
        Uids recovered, problems and exit status, for ``--json``.
    """
    from ..catalog import open_catalog, recover_journals

    done = recover_journals(open_catalog(options.data, to_write=True))
    echo(f"runs recovered: {len(done.recovered)}; journals that could not be: {len(done.problems)}")
    return {"recovered": done.recovered, "problems": done.problems, "exit_code": int(bool(done.problems))}


def _line_of(row: Payload) -> str:
    when = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(row["time"]))
    what = row["purpose"] or "-"
    if row["raw_uids"]:
        what = f"{row['method']} of {', '.join(uid[:8] for uid in row['raw_uids'])}, {row['exposures']} patterns"
    elif row["patterns"]:
        kind = "scan" if what == "image" else f"{what} scan"
        what = f"{kind}, board {row['board']}, {row['exposures'] or '?'} of {row['patterns']} patterns"
    elif what in ("dark", "metal"):
        what = f"{what} scan"
    return f"{row['uid'][:8]}  {when}  {row['exit_status']:<10} {what}"


def show(options: argparse.Namespace, echo: Echo) -> Payload:
    """Say what a run holds; with --out, write the image of a reconstruction.

    Parameters
    ----------
    options : argparse.Namespace
        `run`, `out` and `data`.
    echo : callable
        Takes a line of text for the user.

    Returns
    -------
    dict
        Summary, start and stop document and what was measured, for ``--json``.
    """
    from ..catalog import describe, describe_run, find_named_run, open_catalog, read_image

    if options.out is None:
        payload, problem = describe_run(options.data, options.run)
    else:
        catalog = open_catalog(options.data)
        run = find_named_run(catalog, options.run)
        payload, problem = describe(catalog, run)
    if problem:
        echo(problem)
    if options.out is not None:
        if not payload["raw_uids"]:
            raise ConfigError(
                f"run {payload['uid'][:8]} has no image of its own: use cxgi reconstruct {payload['uid'][:8]}"
            )
        from ..reconstruction.result import Reconstruction

        block, image = cxgi_block(payload["start"]), read_image(run)
        scale: Any = block.get("scale", "relative")
        facts: tuple[Any, ...] = (block.get("method", "?"), {}, block.get("seconds", 0.0), block.get("exposures", 0))
        result = Reconstruction(image, scale, *facts)
        payload["out"] = str(result.save(options.out))
    echo(_line_of(payload))
    for key, value in cxgi_block(payload["start"]).items():
        echo(f"  {key}: {value}")
    if payload.get("d_r_measured"):
        echo("  D_r measured: {:.3f} +- {:.3f}".format(*payload["d_r_measured"]))
    if figures := payload.get("exposure_figures"):
        echo(
            "  shutter open {open_s:.2f} s in {openings:.0f} openings; repeated: {repeats:.0f} exposures, "
            "{moves_repeated:.0f} moves".format(**figures)
        )
    for key in ("streams", "out"):
        if payload.get(key):
            echo(f"  {key}: {payload[key]}")
    return payload
