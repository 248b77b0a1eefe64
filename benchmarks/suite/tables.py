"""Markdown tables, rendered from the results that also went into the JSON file."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.suite.measured import WANTED_MEAN_DB, WANTED_WORST_DB
from cxgi_bluesky.errors import CxgiError

BEGIN, END = "<!-- benchmark: begin -->", "<!-- benchmark: end -->"
Row = Mapping[str, Any]


def markdown(results: Mapping[str, Any]) -> str:
    """All tables of a run of `run_bench`, from its results alone."""
    from benchmarks.suite.network_tables import network_tables  # which uses this module's cells

    parts = [_machine(results)]
    renderers = {
        "quality": _quality,
        "measured": _measured,
        "selection": _selection,
        "speed": _speed,
        "network": network_tables,
    }
    for name, render in renderers.items():
        if name in results:
            parts += [render(results[name]), _left_out(results[name].get("left_out", ()))]
    return "\n\n".join(part for part in parts if part) + "\n"


def write_markdown(path: str | Path, text: str) -> None:
    """Write the tables: between the two marks if the file has them, else as the whole file.

    Raises
    ------
    CxgiError
        If the file cannot be written.
    """
    path = Path(path)
    try:
        page = path.read_text(encoding="utf-8") if path.is_file() else ""
        path.write_text(between_marks(page, text), encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise CxgiError(f"{path} cannot be written ({error}): choose another --markdown") from error


def print_and_write(
    results: Mapping[str, Any], out: Path | None, page: Path | None, tables: Callable[[Any], str]
) -> None:
    """Print results as JSON, and write what was asked for: the same as a file, and the page with their tables.

    Parameters
    ----------
    results : mapping
        Plain values without NaN.
    out, page : Path or None
        File of the JSON, and of the page.
    tables : callable
        Takes the results and gives the text of the page.
    """
    text = json.dumps(results, indent=1, allow_nan=False)
    print(text)
    if out is not None:
        out.write_text(text + "\n", encoding="utf-8")
    if page is not None:
        write_markdown(page, tables(results))


def between_marks(page: str, text: str) -> str:
    """The page with what stands between its marks replaced; a page without marks is replaced as a whole."""
    if BEGIN not in page or END not in page:
        return text
    head, rest = page.split(BEGIN, 1)
    return f"{head}{BEGIN}\n{text.strip()}\n{END}{rest.split(END, 1)[1]}"


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def number(value: float | None, digits: int = 2, *, sign: bool = False) -> str:
    """A number with so many decimals; a dash for one that is not there."""
    if value is None:
        return "-"
    return f"{value:+.{digits}f}" if sign else f"{value:.{digits}f}"


def short(value: float | None) -> str:
    """A time or a ratio with three significant digits."""
    if value is None:
        return "-"
    return f"{value:.3g}" if abs(value) < 1000 else f"{value:.0f}"


def _machine(results: Mapping[str, Any]) -> str:
    return (
        f"cxgi_bluesky {results.get('cxgi_bluesky')}, Python {results.get('python')}, numpy {results.get('numpy')}, "
        f"{results.get('processor') or results.get('machine')}; threads: {results.get('threads')}, "
        f"noise seeds: {results.get('seeds')}."
    )


def _quality(part: Mapping[str, Any]) -> str:
    words = part["workload"]
    size, objects = words["size"], ", ".join(words["objects"])
    lines = [
        f"### Image quality, {size} x {size}, {words['fraction']:.2%} of the patterns",
        f"Means over {objects}; outputs cut to [0, 1]; gain over `{part['baseline']}` of the same coefficients.",
    ]
    head = ("order", "noise", "method", "PSNR dB", "gain dB", "SSIM", "CNR of CAS", "ms")
    rows = [
        (
            row["order"],
            f"{row['snr_db']:g} dB",
            row["method"] + (" *" if row.get("fitted") else ""),
            number(row["psnr_db"]),
            number(row["gain_db"], sign=True),
            number(row["ssim"], 3),
            number(row.get("cas_cnr")),
            short(row["ms"]),
        )
        for row in part["rows"]
    ]
    lines.append(table(head, rows))
    if any(row.get("fitted") for row in part["rows"]):
        lines.append("\\* gives no transmission: PSNR and SSIM after a least-squares affine fit to the truth.")
    return "\n\n".join(lines)


def _measured(part: Mapping[str, Any]) -> str:
    words = part["workload"]
    size = words["size"]
    intro = (
        f"PSNR (dB) at {words['fraction']:.2%} against the full inverse of the same file, after a least-squares affine "
        f"fit; gain over `{part['baseline']}`."
    )
    files = words["files"]
    scores = {(row["order"], row["method"], row["file"]): row["psnr_db"] for row in part["rows"]}
    head = ("order", "method", *files, "mean PSNR dB", "mean gain dB")
    rows = [
        (
            row["order"],
            row["method"],
            *(number(scores.get((row["order"], row["method"], file))) for file in files),
            number(row["psnr_db"]),
            number(row["gain_db"], sign=True),
        )
        for row in part["mean"]
    ]
    parts = [f"### Measured files, {size} x {size}", intro, table(head, rows)]
    return "\n\n".join([*parts, *_network_minus_tv(part.get("network_minus_tv", ()), files)])


def _network_minus_tv(rows: Sequence[Row], files: Sequence[str]) -> list[str]:
    if not rows:
        return []
    cells = [
        (
            row["order"],
            *(number(row["each"].get(file), sign=True) for file in files),
            number(row["mean_db"], sign=True),
            number(row["worst_db"], sign=True),
            "yes" if row["as_wanted"] else "**no**",
        )
        for row in rows
    ]
    intro = (
        f"PSNR of `ch-mwcnn` less that of `tv`, dB (wanted: {WANTED_MEAN_DB:+.1f} or more in the mean, no file below "
        f"{WANTED_WORST_DB:+.1f}):"
    )
    return [intro, table(("order", *files, "mean", "worst", "as wanted"), cells)]


def _selection(part: Mapping[str, Any]) -> str:
    at = 0.1875
    intro = (
        "PSNR in dB / CNR of CAS at each sampling fraction, means over the five images; best of each column of a "
        "noise level in bold. Edges (mean length in a tile, in its sides), tiles with features of one pixel, and the "
        f"way of the stage (mm, in the order of the set / along the rows) are those of {part['board']} at {at:.2%}."
    )
    fractions = part["fractions"]
    found = {(r["order"], r["snr_db"], r["method"], r["fraction"]): r for r in part["rows"]}
    best: dict[tuple[float, float], float] = {}
    for row in part["rows"]:
        key = (row["snr_db"], row["fraction"])
        best[key] = max(best.get(key, -np.inf), row["psnr_db"])
    masks = {m["order"]: m for m in part["masks"] if m["fraction"] == at}
    head = ("noise", "order", "method", *(f"{f:.2%}" for f in fractions), "edges", "1 px", "travel mm")
    rows = []
    for order, level, method in dict.fromkeys(key[:3] for key in sorted(found, key=lambda k: (-k[1], k[0]))):
        cells = []
        for fraction in fractions:
            row = found.get((order, level, method, fraction))
            text = "-" if row is None else f"{number(row['psnr_db'])} / {number(row.get('cas_cnr'), 1)}"
            top = row is not None and row["psnr_db"] >= best[level, fraction] - 0.005
            cells.append(f"**{text}**" if top else text)
        mask = masks.get(order)
        demands = ["-"] * 3
        if mask is not None:
            way = mask["travel_mm"]
            demands = [f"{mask['edges']:.0f}", f"{mask['one_pixel']:.0%}", f"{way['order']:.0f} / {way['snake']:.0f}"]
        rows.append((f"{level:g} dB", order, method, *cells, *demands))
    return "\n\n".join(["### Which patterns to measure", intro, table(head, rows)])


def _speed(part: Mapping[str, Any]) -> str:
    intro = f"Methods at {part['fraction']:.2%}; median of the runs; ratio = time over that of the baseline."
    head = ("task", "n", "ms", "baseline", "its ms", "ratio", "target ms", "memory growth MB", "target MB")
    rows = [
        (
            row["task"],
            str(row["size"]),
            short(row["ms"]),
            row["baseline"],
            short(row["baseline_ms"]),
            short(row["ratio"]),
            short(row.get("target_ms")),
            short(row.get("growth_mb")),
            short(row.get("target_mb")),
        )
        for row in part["rows"]
    ]
    return "\n\n".join(["### Speed and memory", intro, table(head, rows)])


def _left_out(rows: Sequence[Row]) -> str:
    """Which rows are missing and why."""
    lines = []
    for row in rows:
        words = ", ".join(str(value) for key, value in row.items() if key != "why")
        lines.append(f"- left out: {words}: {row['why']}")
    return "\n".join(lines)
