"""``cxgi quality``: sharpness, gap width and levels of an image, and its distance from the truth."""

from __future__ import annotations

import argparse
import math
from pathlib import Path
from typing import Any

from ..errors import ConfigError, CxgiError
from ..measurement.documents import cxgi_block
from ._options import Commands, Echo, Payload, add_command
from ._runs import LAST_MEASURED, RUN_HELP, complete_runs_and_files, set_completer

IMAGE_HELP = RUN_HELP.format(last=LAST_MEASURED) + ": its newest image"
Four = tuple[float, float, float, float]


def add(commands: Commands) -> None:
    """Add the command's grammar."""
    parser = add_command(
        commands,
        "quality",
        quality,
        examples=[
            "cxgi quality demo-output/tv.png --truth demo-output/object.png  # how near it comes",
            "cxgi quality 1a2b3c4d --gap auto --out figure.png  # edge, MTF and gap of a reconstruction",
            "cxgi quality image.npy --pixel-um 10 --edge 40,60,10,50  # the edge in a box of rows and columns",
        ],
    )
    set_completer(
        parser.add_argument("image", metavar="IMAGE|RUN", help=f".npy, .tiff or grey .png; or {IMAGE_HELP}"),
        complete_runs_and_files,
    )
    parser.add_argument("--truth", help="image of the true transmission (0..1), of the same size")
    parser.add_argument("--pixel-um", type=float, help="size of a pixel at the object (um); a run brings its own")
    parser.add_argument(
        "--edge", default="auto", metavar="R0,R1,C0,C1", help="box of rows and columns with an edge, auto or none"
    )
    parser.add_argument("--edge-line", metavar="R0,C0,R1,C1", help="instead of a box: a line across the edge")
    parser.add_argument("--gap", metavar="R0,C0,R1,C1", help="line across a gap from row,column to row,column, or auto")
    parser.add_argument("--gap-width", type=float, help="average over so many pixels along the gap (default: 9)")
    parser.add_argument("--open", type=float, help="bucket of the all-open tile, dark subtracted: for the masks' D_r")
    parser.add_argument("--metal", type=float, help="bucket of the all-metal tile, dark subtracted")
    parser.add_argument(
        "--tile", metavar="K|auto", help="IMAGE is a camera's image of one tile: its D_r, by pattern_index or levels"
    )
    parser.add_argument("--tile-size", type=int, metavar="N", help="mask pixels per side of the tile, with --tile K")
    parser.add_argument("--out", help="figure.png: where the edge and gap are, their profiles, the MTF")


def quality(options: argparse.Namespace, echo: Echo) -> Payload:
    """Measure sharpness, gap width and levels of an image, and how near it is to the truth.

    Parameters
    ----------
    options : argparse.Namespace
        `image`, `truth`, `pixel_um` (um), lines and boxes (pixels), buckets of the tiles, `out` and `data`.
    echo : callable
        Takes a line of text for the user.

    Returns
    -------
    dict
        Levels, sharpness, gap and nearness to the truth, for ``--json``.
    """
    from ..analysis.metrics import image_levels
    from ..analysis.resolution import report as figure
    from ..analysis.resolution.roi import check_image

    _check(options)
    image, facts = _read_image(options)
    image = check_image(image)
    levels = image_levels(image)
    payload: Payload = {
        **facts,
        "size": list(image.shape),
        "levels": {
            "dark": levels.dark,
            "bright": levels.bright,
            "threshold": levels.threshold,
            "cnr_otsu": levels.cnr_otsu,
            "d_r": math.nan if facts["zero"] == "arbitrary" else levels.modulation_depth,
        },
        "mask_d_r": _mask_d_r(options),
        "tile": _tile(options, image, facts["zero"]),
        "truth": _against_truth(options, image),
    }
    _echo_levels(payload, echo)
    edge, payload["edge"], payload["mtf"] = _edge(options, image, facts["pixel_um"], echo)
    blur = edge[0].blur_px if edge else None
    gap, payload["gap"] = _gap(options, image, blur, levels.bright - levels.dark, facts["pixel_um"], echo)
    payload["out"] = None
    if options.out is not None:
        title = f"{Path(options.image).name}, {image.shape[0]} x {image.shape[1]}"
        payload["out"] = str(
            figure.draw(options.out, image, edge=edge, gap=gap, pixel_um=facts["pixel_um"], title=title)
        )
        echo(f"figure -> {options.out}")
    return payload


def _check(options: argparse.Namespace) -> None:
    if options.pixel_um is not None and not (math.isfinite(options.pixel_um) and options.pixel_um > 0):
        raise ConfigError(f"--pixel-um {options.pixel_um:g}: give a positive size in um")
    if (options.open is None) != (options.metal is None):
        raise ConfigError("--open and --metal belong together: give both buckets")
    if options.tile not in (None, "auto") and not (options.tile.isdecimal() and options.tile_size is not None):
        raise ConfigError(f"--tile {options.tile}: give a pattern_index and --tile-size, or auto")
    if options.gap_width is not None and options.gap is None:
        raise ConfigError("--gap-width needs --gap: say where the gap is, or --gap auto")
    if options.edge_line is not None and options.edge != "auto":
        raise ConfigError("--edge and --edge-line both given: use one")
    if options.out is not None and Path(options.out).suffix.lower() not in (".png", ".pdf", ".svg"):
        raise ConfigError(f"--out {options.out} is no figure: use .png, .pdf or .svg")
    if options.out is not None and not Path(options.out).parent.is_dir():
        raise ConfigError(f"folder {Path(options.out).parent} does not exist: make it first or choose another --out")


def _read_image(options: argparse.Namespace) -> tuple[Any, Payload]:
    """The image and where it comes from; `zero` reports whether 0 means no light."""
    from .._files.image_file import is_image_path, read_image_file

    if not is_image_path(options.image) and not Path(options.image).exists():
        return _read_image_of_run(options)
    file = read_image_file(options.image)
    zero = "arbitrary" if file.stretched else "unknown"
    facts = {"image": options.image, "enlarged_by": file.enlarged_by, "pixel_um": options.pixel_um, "zero": zero}
    return file.image, facts


def _read_image_of_run(options: argparse.Namespace) -> tuple[Any, Payload]:
    from ..catalog import find_named_run, find_newest_image, open_catalog, read_image

    catalog = open_catalog(options.data)
    run = find_newest_image(catalog, find_named_run(catalog, options.image))
    start = run.metadata["start"]
    block = cxgi_block(start)
    pixel_um = options.pixel_um if options.pixel_um is not None else block.get("pixel_um")
    zero = "no light" if block.get("scale") == "transmission" else "arbitrary"
    return read_image(run), {"image": start["uid"], "enlarged_by": 1, "pixel_um": pixel_um, "zero": zero}


def _mask_d_r(options: argparse.Namespace) -> float | None:
    from ..analysis.metrics import modulation_depth

    return None if options.open is None else modulation_depth(options.open, options.metal)


def _tile(options: argparse.Namespace, image: Any, zero: str) -> Payload | None:
    """Modulation depth of the tile in the image."""
    from dataclasses import asdict

    from ..analysis.resolution.modulation_depth import tile_modulation_depth
    from ..masks.pattern_set import pattern

    if options.tile is None:
        return None
    if zero == "arbitrary" and Path(options.image).suffix.lower() != ".png":
        raise ConfigError(f"{options.image}: its 0 is not where no light is, so that it has no D_r")
    design = None if options.tile == "auto" else pattern(options.tile_size, int(options.tile))
    return asdict(tile_modulation_depth(image, design))


def _against_truth(options: argparse.Namespace, image: Any) -> Payload | None:
    """CNR (eq. 1), PSNR and SSIM after an affine fit, and PSNR of the raw numbers."""
    from .._files.image_file import read_image_file
    from ..analysis.metrics import compare, psnr
    from ..analysis.resolution.roi import check_image

    if options.truth is None:
        return None
    truth = check_image(read_image_file(options.truth).image)
    if truth.min() < -0.5 or truth.max() > 1.5:
        raise ConfigError(
            f"the truth spans {truth.min():.3g}..{truth.max():.3g}, but a transmission lies within 0..1: rescale it"
        )
    return {"file": options.truth, **compare(image, truth), "psnr_raw_db": psnr(image, truth)}


def _echo_levels(payload: Payload, echo: Echo) -> None:
    rows, cols = payload["size"]
    enlarged = f", in the file enlarged {payload['enlarged_by']} times" if payload["enlarged_by"] > 1 else ""
    pixel = f" of {payload['pixel_um']:g} um" if payload["pixel_um"] is not None else ""
    echo(f"{payload['image']}: {rows} x {cols} pixels{pixel}{enlarged}")
    levels = payload["levels"]
    caveat = "" if payload["zero"] == "no light" else " (if 0 means no light)"
    d_r = "" if math.isnan(levels["d_r"]) else f", D_r {levels['d_r']:.1%}{caveat}"
    echo(f"levels: dark {levels['dark']:.3g}, bright {levels['bright']:.3g}{d_r}")
    if payload["mask_d_r"] is not None:
        echo(f"masks: D_r {payload['mask_d_r']:.1%} from the open and the metal tile")
    tile = payload["tile"]
    if tile is not None:
        echo(
            f"tile: D_r {tile['d_r']:.1%} +- {tile['d_r_sigma']:.1%} (levels {tile['d_max']:.4g} and "
            f"{tile['d_min']:.4g}, illumination uneven by {tile['unevenness']:.1%}), if 0 means no light"
        )
    truth = payload["truth"]
    if truth is None:
        echo(f"CNR by Otsu's classes {levels['cnr_otsu']:.2f} (flatters: pure noise has 1.9; eq. 1 needs --truth)")
    else:
        echo(
            f"against {truth['file']}: CNR {truth['cnr']:.2f}; after an affine fit PSNR {truth['psnr_db']:.2f} dB, "
            f"SSIM {truth['ssim']:.3f}; without a fit PSNR {truth['psnr_raw_db']:.2f} dB"
        )


def _edge(
    options: argparse.Namespace, image: Any, pixel_um: float | None, echo: Echo
) -> tuple[Any, Payload | None, Payload | None]:
    from ..analysis.resolution.edge import measure_edge
    from ..analysis.resolution.mtf import edge_mtf, edge_spread
    from ..analysis.resolution.report import edge_numbers, edge_text, mtf_numbers

    if options.edge == "none":
        return None, None, None
    try:
        if options.edge_line is not None:
            edge = measure_edge(image, line=_four(options.edge_line, "--edge-line", "R0,C0,R1,C1"))
        else:
            edge = measure_edge(image, None if options.edge == "auto" else _four(options.edge, "--edge", "R0,R1,C0,C1"))
    except CxgiError as error:
        if options.edge != "auto" or options.edge_line is not None:
            raise
        echo(f"no sharpness: {error}")
        return None, None, None
    spread = edge_spread(edge)
    mtf = edge_mtf(edge, spread)
    numbers, curve = edge_numbers(edge, spread, pixel_um), mtf_numbers(mtf, pixel_um)
    for line in edge_text(numbers, curve):
        echo(line)
    return (edge, spread, mtf), numbers, curve


def _gap(
    options: argparse.Namespace, image: Any, blur_px: float | None, contrast: float, pixel_um: float | None, echo: Echo
) -> tuple[Any, Payload | None]:
    from ..analysis.resolution.gap import measure_gap
    from ..analysis.resolution.report import gap_numbers, gap_text

    if options.gap is None:
        return None, None
    line = None if options.gap == "auto" else _four(options.gap, "--gap", "R0,C0,R1,C1")
    gap = measure_gap(image, line, width=options.gap_width, blur_px=blur_px)
    numbers = gap_numbers(gap, contrast, pixel_um)
    for text in gap_text(numbers):
        echo(text)
    return gap, numbers


def _four(text: str, option: str, form: str) -> Four:
    """Four finite numbers parted by commas."""
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = ()
    if len(numbers) != 4 or not all(math.isfinite(number) for number in numbers):
        raise ConfigError(f"{option} {text}: give four numbers {form}, or auto")
    return numbers[0], numbers[1], numbers[2], numbers[3]
