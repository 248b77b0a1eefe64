"""The page of the published networks, from the results alone."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from benchmarks.peers.published.methods import OURS
from benchmarks.suite.tables import number, short, table

Row = Mapping[str, Any]


def markdown(results: Mapping[str, Any]) -> str:
    """All tables."""
    set11, anchors = results["set11"], results["anchors"]
    rows = [*set11["rows"], *anchors["rows"]]
    parts = [
        f"cxgi_bluesky {results['cxgi_bluesky']}, Python {results['python']}, torch {results['torch']}, "
        f"{results['processor']}; threads: 1; weights of `ch-mwcnn`: {results['weights']}. Ours are in `code`; "
        "*s*: median seconds of the processor an image.",
        f"### Set11, {set11['size']} x {set11['size']}, no noise",
        f"Means over the {set11['images']} images. *measured*: measurements over pixels.",
        _table(("", "method", "masks", "measured", "PSNR dB", "SSIM", "s"), set11["rows"], _set11_cells),
        f"### Anchor workload, 64 x 64, {anchors['fraction']:.2%}",
        f"Means over the five images and {anchors['seeds']} noise seeds.",
        _table(("order", "noise", "method", "PSNR dB", "SSIM", "CNR of CAS", "s"), anchors["rows"], _anchor_cells),
        *(f"- {why}" for why in dict.fromkeys(row["why"] for row in rows if "why" in row)),
    ]
    if results["schedules"]:
        cells = [
            (row["noise"], f"{row['fraction']:.2%}", row["order"], row["settings"]) for row in results["schedules"]
        ]
        parts += ["### PnP-FFDNet as tuned", table(("noise", "measured", "order", "settings"), cells)]
    return "\n\n".join(parts) + "\n"


def _table(head: Sequence[str], rows: Iterable[Row], cells: Any) -> str:
    return table(head, [cells(row) for row in rows])


def _name(row: Row) -> str:
    return f"`{row['method']}`" if row["method"] in OURS else row["method"]


def _numbers(row: Row, *more: str) -> tuple[str, ...]:
    """PSNR and SSIM, further cells, and seconds; for a peer that could not be run, that it was not given."""
    if "why" in row:
        return ("not given", "-", *("-" for _ in more), "-")
    return (number(row["psnr_db"]), number(row["ssim"], 3), *more, short(row["s_per_image"]))


def _set11_cells(row: Row) -> tuple[str, ...]:
    share = f"{row['measured_share']:.1%}" if "measured_share" in row else "-"
    return (f"{row['fraction']:.0%}", _name(row), row["masks"], share, *_numbers(row))


def _anchor_cells(row: Row) -> tuple[str, ...]:
    return (row["order"], f"{row['snr_db']:g} dB", _name(row), *_numbers(row, number(row.get("cas_cnr"))))
