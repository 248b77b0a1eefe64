"""``cxgi convert``: files of buckets from one format into another, and bare lists into any of them."""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import get_args

from ..masks.orders import ORDERS
from ..measurement.bucket_files.plain_lists import LAYOUTS, read_list
from ..measurement.bucket_files.read_write import check_target, read_buckets, write_buckets
from ..measurement.bucket_files.table import BucketTable, naming
from ..measurement.coefficients import Coding
from ..measurement.measurement import Measurement
from ._options import Commands, Echo, Payload, add_command, refuse_for_signed


def add(commands: Commands) -> None:
    """Add the command's grammar."""
    parser = add_command(
        commands,
        "convert",
        convert,
        examples=[
            "cxgi convert buckets.csv buckets.h5  # another format",
            "cxgi convert list.txt list.csv --layout list --size 64 --order zig-zag --coding signed  # a bare list",
        ],
        data=False,
    )
    parser.add_argument("source", metavar="SOURCE", help="file of buckets (.csv, .npz, .h5), or a bare list")
    parser.add_argument("target", metavar="TARGET", help="file to write: .csv, .npz, .h5 or .hdf5")
    parser.add_argument(
        "--layout",
        choices=("table", *LAYOUTS),
        default="table",
        help="table: with pattern_index; list: one bucket per pattern; pairs: positive, negative, ... (default: table)",
    )
    parser.add_argument("--size", type=int, help="pixels per side")
    parser.add_argument("--coding", choices=get_args(Coding), help="how the buckets were taken")
    parser.add_argument(
        "--order",
        choices=tuple(ORDERS),
        metavar="ORDER",
        help="order in which the patterns of a list were shown: %(choices)s",
    )
    parser.add_argument("--order-seed", type=int, help="seed of --order random or variable-density")
    parser.add_argument("--d-r", type=float, help="modulation depth ratio of the masks")
    parser.add_argument("--dark", type=float, help="signal without beam")
    parser.add_argument("--unit", help="unit of the buckets, such as pA")
    parser.add_argument("--to-signed", action="store_true", help="write signed coefficients instead of the buckets")
    parser.add_argument("--force", action="store_true", help="replace TARGET if it exists")


def convert(options: argparse.Namespace, echo: Echo) -> Payload:
    """Convert a file of buckets, or bring in a list of another program.

    Parameters
    ----------
    options : argparse.Namespace
        `source` and `target`, what the source does not contain, `to_signed` and `force`.
    echo : callable
        Takes a line of text for the user.

    Returns
    -------
    dict
        File, columns and metadata of its buckets, for ``--json``.
    """
    check_target(options.target, overwrite=options.force)
    table = _read(options)
    if options.to_signed:
        with naming(options.source):
            table = _make_signed(table, echo)
    if table.source is None:
        table = replace(table, source=f"converted from the {options.layout} {Path(options.source).name}")
    target = write_buckets(options.target, table, overwrite=options.force)
    echo(f"{len(table)} patterns{_of_what(table)} -> {target}")
    return {
        "out": str(target),
        "patterns": len(table),
        "fraction": table.fraction,
        "columns": list(table.columns()),
        **dict.fromkeys(("size", "coding", "d_r", "dark", "order", "seed", "unit", "source")),
        **table.attrs(),
    }


def _read(options: argparse.Namespace) -> BucketTable:
    metadata = {name: getattr(options, name) for name in ("size", "coding", "order")} | {"seed": options.order_seed}
    if options.layout == "table":
        table = read_buckets(options.source)
    else:
        table = read_list(options.source, options.layout, **metadata)
    with naming(options.source):
        table = table.with_attrs(**metadata, unit=options.unit, d_r=options.d_r, dark=options.dark)
    refuse_for_signed(options, table.coding)
    return table


def _make_signed(table: BucketTable, echo: Echo) -> BucketTable:
    """Signed coefficients; what d_r and dark were is written into the source."""
    measurement = Measurement.from_table(table)
    d_r, dark = measurement.source["d_r"], measurement.source["dark"]
    remark = f"signed coefficients of {table.coding} buckets, d_r {d_r:g}, dark {dark:g}"
    if measurement.sigma_common > 0:
        echo(
            f"NOTE: the all-open bucket's error, {measurement.sigma_common:.3g} in all coefficients alike, has no "
            "place in a signed file: reconstruct from the binary file to have it corrected"
        )
    return replace(
        table,
        pattern_index=measurement.pattern_index,
        bucket=measurement.coefficient,
        sigma=None if table.sigma is None else measurement.sigma,
        bucket_complement=None,
        coding="signed",
        d_r=None,
        dark=None,
        source=remark if table.source is None else f"{table.source}\n{remark}",
    )


def _of_what(table: BucketTable) -> str:
    size = ", size not said"
    if table.size is not None and table.fraction is not None:
        size = f" of {table.size} x {table.size} ({100 * table.fraction:.4g} % of all)"
    order = "" if table.order is None else f", order {table.order}"
    seed = "" if table.seed is None else f", seed {table.seed}"
    return f"{size}, coding {table.coding or 'not said'}{order}{seed}"
