"""``cxgi runs``, ``show``, ``export`` and ``recover``: what the catalog holds, a file of it, and what it lacks."""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterator, Mapping
from typing import Any

from ..errors import ConfigError
from ..measurement.documents import cxgi_block
from ._options import QUERY_HELP, Commands, Echo, ExitCode, Payload, add_command
from ._runs import LAST_MEASURED, RUN_HELP, complete_runs, describe_row, set_completer

EXPORT_FORMATS = ("nexus", "hdf5", "csv", "tiff", "png", "gif")
OPENING = "opening the catalog"


def add(commands: Commands) -> None:
    """Add the commands' grammar."""
    parser = add_command(
        commands,
        "runs",
        runs,
        examples=[
            "cxgi runs  # the newest 50",
            "cxgi runs --last 5 --json  # for a program",
        ],
    )
    parser.add_argument("--last", type=int, default=50, help="how many of the newest runs (default: %(default)s)")
    parser.add_argument("--query", metavar="CONDITION", help=QUERY_HELP)
    parser.add_argument("--rebuild", action="store_true", help="make the folder's index of runs anew from its catalog")

    parser = add_command(
        commands,
        "show",
        show,
        examples=[
            "cxgi show last  # the newest run that was measured; -1 is a reconstruction too",
            "cxgi show 12  # scan number 12: what was measured, time with the shutter open",
            "cxgi show 12 --out image.png  # its newest image; that of a reconstruction, by its uid",
        ],
    )
    run_help = RUN_HELP.format(last=LAST_MEASURED)
    set_completer(parser.add_argument("run", metavar="RUN", help=run_help), complete_runs)
    parser.add_argument("--out", help="write its newest image: .png, .npy or .tiff")

    parser = add_command(
        commands,
        "export",
        export,
        examples=[
            "cxgi export last  # one NeXus file with everything of the newest scan",
            "cxgi export 12 13 14 --format csv --out tables  # tables of buckets",
            "cxgi export 1a2b3c4d --format tiff  # the newest image",
        ],
    )
    set_completer(parser.add_argument("runs", metavar="RUN", nargs="+", help=run_help), complete_runs)
    parser.add_argument("--format", choices=EXPORT_FORMATS, default="nexus", help="of the file (default: %(default)s)")
    parser.add_argument("--out", metavar="DIR", default=".", help="folder of the files (default: this one)")
    parser.add_argument("--force", action="store_true", help="replace files that exist")

    add_command(
        commands,
        "recover",
        recover,
        examples=[
            "cxgi recover  # after a crash, or when a line says that runs wait",
        ],
    )


def runs(options: argparse.Namespace, echo: Echo) -> Payload:
    """List the newest runs, newest last.

    Parameters
    ----------
    options : argparse.Namespace
        `last` (number of runs), `query`, `rebuild` and `data`.
    echo : callable
        Takes a line of text for the user.

    Returns
    -------
    dict
        Summaries of the runs, the number of all, and where they are, for ``--json``.
    """
    if options.last < 1:
        raise ConfigError(f"--last {options.last}: give a positive number of runs")
    with echo.working("making the index anew" if options.rebuild else "listing the runs"):
        from ..catalog import data_folder, data_location, list_runs

        listed, total = list_runs(options.data, last=options.last, rebuild=options.rebuild, query=options.query)
    location = data_location(options.data) or data_folder()
    echo.note(f"{len(listed)} of {total} runs in {location}")
    rows = [(row["uid"][:8], _number(row), _when(row), row["exit_status"], describe_row(row)) for row in listed]
    echo.table(("run", "scan", "when", "status", "what"), rows, right=[1], styles=[_style(row) for row in listed])
    return {"runs": listed, "total": total, "data": str(location)}


def export(options: argparse.Namespace, echo: Echo) -> Payload:
    """Write runs into files for others: the whole measurement, its buckets or newest image.

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
    with echo.working(OPENING):
        from ..catalog import export_run, find_named_run, open_catalog

        catalog = open_catalog(options.data)
    files = []
    with echo.working(f"exporting as {options.format}", total=len(options.runs)) as step:
        for name in options.runs:
            run = find_named_run(catalog, name)
            path = export_run(catalog, run, file_format=options.format, out=options.out, overwrite=options.force)
            files.append({"run_uid": run.metadata["start"]["uid"], "out": str(path)})
            echo(f"run {files[-1]['run_uid'][:8]} -> {path}")
            step.advance()
    return {"format": options.format, "files": files}


def recover(options: argparse.Namespace, echo: Echo) -> Payload:
    """Store runs that were cut off, or that the catalog did not take, from their journals.

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
    with echo.working("recovering runs"):
        from ..catalog import open_catalog, recover_journals

        done = recover_journals(open_catalog(options.data, to_write=True))
    echo(f"runs recovered: {len(done.recovered)}; journals that could not be: {len(done.problems)}")
    return {
        "recovered": done.recovered,
        "problems": done.problems,
        "exit_code": ExitCode.FINDINGS if done.problems else ExitCode.DONE,
    }


def _when(row: Payload) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(row["time"]))


def _style(row: Payload) -> str:
    return "" if row["exit_status"] == "success" else "yellow"


def _number(row: Payload) -> str:
    return "" if row["scan_id"] is None else str(row["scan_id"])


def show(options: argparse.Namespace, echo: Echo) -> Payload:
    """Say what a run holds; with --out, write its newest image.

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
    with echo.working(OPENING):
        from ..catalog import describe, describe_run, find_named_run, find_newest_image, open_catalog, read_image

        if options.out is None:
            payload, problem = describe_run(options.data, options.run)
        else:
            catalog = open_catalog(options.data)
            run = find_named_run(catalog, options.run)
            payload, problem = describe(catalog, run)
    if problem:
        echo(problem, style="yellow")
    if options.out is not None:
        from ..reconstruction.result import Reconstruction

        derived = find_newest_image(catalog, run)
        block, image = cxgi_block(derived.metadata["start"]), read_image(derived)
        scale: Any = block.get("scale", "relative")
        facts: tuple[Any, ...] = (block.get("method", "?"), {}, block.get("seconds", 0.0), block.get("exposures", 0))
        result = Reconstruction(image, scale, *facts)
        payload["out"] = str(result.save(options.out))
    number = f"scan {payload['scan_id']}, " if payload["scan_id"] is not None else ""
    reason = (payload.get("stop") or {}).get("reason")
    status = f"{number}{_when(payload)}, {payload['exit_status']}{f': {reason}' if reason else ''}"
    echo(f"run {payload['uid'][:8]}: {describe_row(payload)}", style="bold")
    echo(f"  {payload['uid']}, {status}", style=_style(payload))
    if figures := payload.get("exposure_figures"):
        echo(
            "  shutter open {open_s:.2f} s in {openings:.0f} openings; repeated: {repeats:.0f} exposures, "
            "{moves_repeated:.0f} moves".format(**figures),
            style="bold",
        )
    if payload.get("d_r_measured"):
        echo("  D_r measured: {:.3f} +- {:.3f}".format(*payload["d_r_measured"]))
    rest = {name: payload[name] for name in ("streams", "out") if payload.get(name)}
    echo.table((), list(_rows({**cxgi_block(payload["start"]), **rest}, "  ")))
    return payload


def _rows(values: Mapping[str, Any], indent: str) -> Iterator[tuple[str, str]]:
    """A row for each value, those of a mapping indented below its name; empty ones are left out."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield indent + key, ""
            yield from _rows(value, indent + "  ")
        elif value is not None and value not in ({}, [], ()):
            yield indent + key, _text(value)


SHOWN = 12  # of a longer list; --json has all of it


def _text(value: Any) -> str:
    """A value as one writes it: numbers with six digits, lists with commas, long ones cut."""
    if isinstance(value, float):
        return f"{value:.6g}"
    if not isinstance(value, list | tuple):
        return str(value)
    rest = f", ... ({len(value)} in all)" if len(value) > SHOWN else ""
    return ", ".join(map(_text, value[:SHOWN])) + rest
