"""Markdown tables of `python -m benchmarks.suite network`, rendered from its results alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.suite.pnp_bm3d import NAME as PEER_NAME
from benchmarks.suite.pnp_bm3d import NOT_INSTALLED
from benchmarks.suite.tables import number, short, table

Row = Mapping[str, Any]
_REFERENCES = {"False": "none", "True": "reference scan", "maps": "measured masks"}
GAP_HEAD = ("gap: brightness", "segments of 8", "width um")
_SHOWN = ("psnr_db", "ssim", "cas_cnr")


def network_tables(part: Mapping[str, Any]) -> str:
    """All tables that were made."""
    renderers = {
        "anchor": _anchor,
        "classes": _classes,
        "sizes": _sizes,
        "boards": _boards,
        "trust": _trust,
        "speed": _speed,
    }
    lines = [f"### {part['network']} beside the other methods", _peer(part["peer"], part["seeds"])]
    for name, render in renderers.items():
        if name in part:
            lines += [*render(part[name], part), *_left_out(part[name].get("left_out", ()))]
    return "\n\n".join(lines)


def _peer(peer: Row, seeds: int) -> str:
    if peer["settings"] is None:
        return f"{PEER_NAME}: {peer['why'] or 'not asked'}."
    text = (
        f"{PEER_NAME} ({peer['settings']}) made {peer['pictures']} of {peer['asked_for']} images in its time, seed 0 "
        f"first; (k) behind its numbers: means over k of the {seeds} seeds, differences on the same cases."
    )
    return text if peer["why"] is None else f"{text} {peer['why']}."


def _methods(part: Row) -> list[str]:
    return [*part["methods"], PEER_NAME]


def _scores(row: Row, method: str, part: Row, shown: Sequence[str]) -> str:
    """PSNR / SSIM / CNR of a method in a cell; why the peer has none."""
    means = row["methods"].get(method)
    if means is None:
        absent = method == PEER_NAME and part["peer"]["why"] is not None
        return str(part["peer"]["why"]) if absent else "-"
    digits = {"psnr_db": 2, "ssim": 3, "cas_cnr": 1}
    text = " / ".join(number(means[name], digits[name]) for name in shown if means[name] is not None)
    return f"{text} ({means['seeds']})" if method == PEER_NAME and means["seeds"] < part["seeds"] else text


def _minus(row: Row, other: str, part: Row) -> tuple[str, str, str]:
    """Mean and worst difference to another method, and of which object; in bold what is not wanted."""
    found = row["network_minus"].get(other)
    if found is None:
        return "-", "-", "-"
    worst = number(found["worst_db"], sign=True)
    if other == part["rival"] and found["worst_db"] < part["wanted"]["worst_db"]:
        worst = f"**{worst}**"
    return number(found["mean_db"], sign=True), worst, found["worst"]


def _anchor(found: Row, part: Row) -> list[str]:
    orders = list(dict.fromkeys(row["order"] for row in found["rows"]))
    rows = sorted(found["rows"], key=lambda r: (orders.index(r["order"]), -r["snr_db"], r["fraction"]))
    head = ("order", "patterns", "noise")
    words = [(row["order"], f"{row['fraction']:.2%}", f"{row['snr_db']:g} dB") for row in rows]
    methods = _methods(part)
    cells = [(*w, *(_scores(row, m, part, _SHOWN) for m in methods)) for w, row in zip(words, rows, strict=True)]
    images = list(dict.fromkeys(i for row in rows for minus in row["network_minus"].values() for i in minus["each"]))
    rival = part["rival"]
    differences = []
    for w, row in zip(words, rows, strict=True):
        minus = row["network_minus"].get(rival, {"each": {}})
        each = [number(minus["each"].get(image), sign=True) for image in images]
        mean, worst, _ = _minus(row, rival, part)
        differences.append((*w, *each, mean, worst, _minus(row, PEER_NAME, part)[0]))
    limit = f"{part['wanted']['worst_db']:+.1f}"
    return [
        "#### Anchor workload, 64 x 64",
        "PSNR dB / SSIM / CNR of CAS, means over the five images and the seeds; correlation after an affine fit.",
        table((*head, *methods), cells),
        f"PSNR of `{part['network']}` less that of `{rival}`, dB, by image (wanted: none below {limit}; bold: it is), "
        f"and less that of {PEER_NAME} in the mean:",
        table((*head, *images, "mean", "worst", f"less {PEER_NAME}"), differences),
    ]


def _classes(found: Row, part: Row) -> list[str]:
    methods, rival = _methods(part), part["rival"]
    rows = [
        (
            row["class"],
            "yes" if row["seen"] else "no",
            *(_scores(row, method, part, _SHOWN[:2]) for method in methods),
            *_minus(row, rival, part)[:2],
            _minus(row, PEER_NAME, part)[0],
        )
        for row in found["rows"]
    ]
    head = ("class", "kind in training", *methods, f"less {rival}", "worst", f"less {PEER_NAME}")
    return [
        "#### Classes of objects, 64 x 64, zig-zag, 18.75%, 30 dB",
        "PSNR dB / SSIM, means over objects and seeds. *kind in training*: objects drawn by the same rules, with seeds "
        "that no training uses (photographs: other crops of the same images). The others are families that came "
        "after these weights, and objects that no training draws, though stripes and stars are among its shapes. "
        "The last columns: PSNR of "
        f"`{part['network']}` less another method's, dB.",
        table(head, rows),
    ]


def _sizes(found: Row, part: Row) -> list[str]:
    network, rival = part["network"], part["rival"]
    rows = [
        (
            str(row["size"]),
            *(_scores(row, method, part, _SHOWN) for method in (rival, network)),
            *_minus(row, rival, part),
            *(short(row["methods"].get(method, {}).get("ms")) for method in (rival, network)),
        )
        for row in found["rows"]
    ]
    head = ("n", rival, network, f"less {rival}", "worst", "image", f"{rival} ms", f"{network} ms")
    return [
        "#### Other sizes, zig-zag, 18.75%, 30 dB",
        "PSNR dB / SSIM / CNR of CAS, the five images at each size; median time of an image.",
        table(head, rows),
    ]


def _boards(found: Row, part: Row) -> list[str]:
    rows = [
        (
            row["object"],
            row["order"],
            f"{row['exposure_s']:g}",
            _REFERENCES[str(row["reference"])],
            row["method"],
            number(row["cnr_mean"]) + (f" ± {number(row['cnr_std'])}" if row["cnr_std"] is not None else ""),
            number(row["psnr_db"]),
            number(row["ssim"], 3),
            number(row["gap_brightness"]),
            number(row["gap_segments"], 1),
            number(row["gap_um"], 0),
            number(row["cnr_ratio"]),
        )
        for row in found["rows"]
    ]
    there = any(row["method"] == PEER_NAME for row in found["rows"])
    peer = "" if there else f" {PEER_NAME}: {part['peer']['why'] or NOT_INSTALLED}."
    head = (
        "object",
        "order",
        "s",
        "reference",
        "method",
        "CNR",
        "PSNR dB",
        "SSIM",
        *GAP_HEAD,
        "network's CNR / its CNR",
    )
    return [
        f"#### Simulated etched boards (boards: {found['boards']})",
        "CAS and gear: Cu 32 x 32, all 1024 patterns, whose order matters little; gold: Au 64 x 64, 768 of 4096. "
        "TV/L2 takes the masks for the design, TV/L2 + edges is the package's `tv`. PSNR and SSIM after an affine fit; "
        "gap: its mean brightness over the true one, of eight segments those that show it, its width (true 10.4 um, a "
        f"dash where fewer than half of the boards show six segments); s: exposure time.{peer} {found['seen']}",
        table(head, rows),
    ]


def _trust(found: Row, part: Row) -> list[str]:
    rows = [(row["method"], str(row["cases"]), f"{row['real']:.1%}", f"{row['shuffled']:.1%}") for row in found["rows"]]
    return [
        "#### Trust: the held-out verdict, anchor images, 18.75%, 30 dB",
        'Share of the images that are called "supported", of real buckets and of shuffled ones (wanted: none).',
        table(("method", "pictures", "real", "shuffled"), rows),
    ]


def _speed(found: Row, part: Row) -> list[str]:
    keys = ("first_ms", "ms", "sized_ms", "ratio", "growth_mb", "peak_mb")
    rows = [(row["method"], *(short(row.get(key)) for key in keys)) for row in found["rows"]]
    head = (
        "method",
        "first call ms",
        "later ms",
        "errors' size known ms",
        f"later / {part['rival']}",
        "growth MB",
        "peak MB",
    )
    return [
        "#### Speed, 64 x 64, 18.75%, one thread",
        "*first call*: in a new process, with imports, weights and compiled loops read; *errors' size known*: "
        "without the step that finds how large the errors of the coefficients are.",
        table(head, rows),
    ]


def _left_out(rows: Sequence[Row]) -> list[str]:
    """What could not be made and why."""
    if not rows:
        return []
    words = (", ".join(str(v) for key, v in row.items() if key != "why") + f": {row['why']}" for row in rows)
    return ["\n".join(f"- left out: {line}" for line in words)]
