"""Our methods and other packages' on the same coefficients, in one run, one thread each.

Started by ``make bench-peers`` with the project's interpreter; the peers run in an environment of their own.
Prints one JSON object; --markdown renews the table from the same results.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers._shared import Case, Reconstruct, timed_images
from benchmarks.suite import workload
from benchmarks.suite.report import machine
from benchmarks.suite.scores import Scores, mean_scores, score
from benchmarks.suite.specs import BASELINE, Spec, chosen_orders, chosen_specs
from benchmarks.suite.tables import number, print_and_write, short, table
from benchmarks.suite.timing import one_thread
from cxgi_bluesky.analysis.metrics import affine_fit
from cxgi_bluesky.cli._options import plain
from cxgi_bluesky.measurement.measurement import Measurement
from cxgi_bluesky.simulation.random_objects import random_object

HERE = Path(__file__).parent
TRAINING_OBJECTS = 4000
TIME_BASELINE = "tv"
TIME_LIMIT_S = 3 * 3600.0

Row = dict[str, Any]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--python", required=True, help="interpreter of the peers' environment")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--orders", nargs="+", default=["zig-zag", "cake-cutting", "variable-density"])
    parser.add_argument("--snr", nargs="+", type=float, default=[30.0])
    parser.add_argument("--weights", metavar="FILE", help="of our network (default: those of the package)")
    parser.add_argument("--out", type=Path, help="the same JSON as a file")
    parser.add_argument("--markdown", type=Path, help="page with the marks of the suite, or a new one")
    options = parser.parse_args()
    with one_thread():
        results = plain(
            compare(options.python, chosen_orders(options.orders), options.snr, options.seeds, options.weights)
        )
    print_and_write(results, options.out, options.markdown, markdown)


def compare(
    python: str, orders: Sequence[str], levels: Sequence[float], seeds: int, weights: str | None = None
) -> dict[str, Any]:
    """Run everything and score it."""
    labels, cases, truths = make_cases(orders, levels, seeds)
    entries = [_ours(spec, cases, truths) for spec in chosen_specs(weights=weights)]
    entries += run_peers(python, labels, cases)
    rows = [row for group in dict.fromkeys((label["order"], label["snr_db"]) for label in labels)
            for row in _rows(group, entries, labels, truths)]  # fmt: skip
    return {
        "benchmark": "peers",
        **machine(),
        "threads": 1,
        "seeds": seeds,
        "baseline": BASELINE,
        "time_baseline": TIME_BASELINE,
        "rows": rows,
        "peers": [entry["about"] for entry in entries if "about" in entry],
    }


def make_cases(
    orders: Sequence[str], levels: Sequence[float], seeds: int
) -> tuple[list[Row], list[Case], list[np.ndarray]]:
    """Every measurement, what it is of, and its truth."""
    labels, cases, truths = [], [], []
    for order in orders:
        for level in levels:
            for name, truth in workload.truths().items():
                for seed in range(seeds):
                    m = workload.measure(truth, workload.pattern_set(order, seed), snr_db=level, seed=seed)
                    labels.append({"order": order, "snr_db": level, "image": name, "seed": seed})
                    cases.append(Case(m.coefficient, m.pattern_index, float(m.sigma[0]), m.size))
                    truths.append(truth)
    return labels, cases, truths


def _ours(spec: Spec, cases: list[Case], truths: list[np.ndarray]) -> Row:
    """Images and times of one of our methods, from the same numbers that the peers get."""
    print(f"ours: {spec.name}", file=sys.stderr)
    scales = []

    def reconstruct(coefficients: np.ndarray, index: np.ndarray, sigma: float, size: int) -> np.ndarray:
        measurement = Measurement.from_buckets(
            size, index, coefficients, coding="signed", sigma=np.full(len(index), sigma)
        )
        made = spec(replace(measurement, scale="transmission"))
        scales.append(made.scale)
        return made.image

    images, times = _timed(reconstruct, cases)
    fitted = "relative" in scales
    if fitted:
        images = [affine_fit(image, truth) for image, truth in zip(images, truths, strict=True)]
    return {
        "method": spec.name,
        "fitted": fitted,
        "ours": True,
        "cases": list(range(len(cases))),
        "images": images,
        "ms": times,
    }


def _timed(reconstruct: Reconstruct, cases: list[Case]) -> tuple[list[np.ndarray], list[float]]:
    images, times = zip(*timed_images(reconstruct, cases), strict=True)
    return list(images), list(times)


def run_peers(python: str, labels: list[Row], cases: list[Case]) -> list[Row]:
    """Images and times of every peer, made by run.py with the peers' interpreter."""
    rng = np.random.default_rng(0)
    size = cases[0].size
    objects = np.array([np.round(255 * random_object(rng, size)) for _ in range(TRAINING_OBJECTS)], dtype=np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / name for name in ("cases.npz", "training.npz", "out.npz")]
        np.savez(files[0], seed=[label["seed"] for label in labels], **columns_of(cases))
        np.savez(files[1], objects=objects)
        subprocess.run(
            [python, str(HERE / "run.py"), *map(str, files)], check=True, timeout=TIME_LIMIT_S, stdout=sys.stderr
        )
        with np.load(files[2], allow_pickle=False) as out:
            return [_peer(about, out, size) for about in json.loads(str(out["peers"]))]


def columns_of(cases: list[Case]) -> dict[str, Any]:
    """The cases as run.py reads them."""
    return {
        "length": [len(case.index) for case in cases],
        **{name: np.concatenate([getattr(case, name) for case in cases]) for name in ("coefficients", "index")},
        **{name: [getattr(case, name) for case in cases] for name in ("sigma", "size")},
    }


def _peer(about: Row, out: Any, size: int) -> Row:
    entry: Row = {"about": about, "method": about.get("name", about["adapter"]), "fitted": False, "ours": False}
    if "why" in about:
        return {**entry, "cases": [], "images": [], "ms": []}
    arrays = {key: out[f"{about['adapter']}.{key}"] for key in ("cases", "images", "ms")}
    images = list(arrays["images"].reshape(-1, size, size))
    return {**entry, "cases": arrays["cases"].tolist(), "images": images, "ms": arrays["ms"].tolist()}


def _rows(group: tuple[str, float], entries: list[Row], labels: list[Row], truths: list[np.ndarray]) -> list[Row]:
    """Scores of one order and noise level; gains and ratios on the same cases as the baseline's."""
    scored = {entry["method"]: _scored(group, entry, labels, truths) for entry in entries}
    rows = []
    for entry in entries:
        own = scored[entry["method"]]
        if not own:
            continue
        base, timed = ({k: scored[name][k] for k in own} for name in (BASELINE, TIME_BASELINE))
        means, ms = _means(own, labels), _median_ms(own)
        rows.append(
            {
                "order": group[0],
                "snr_db": group[1],
                "method": entry["method"],
                "ours": entry["ours"],
                "fitted": entry["fitted"],
                "seeds": len({labels[k]["seed"] for k in own}),
                **means,
                "gain_db": means["psnr_db"] - _means(base, labels)["psnr_db"],
                "ms": ms,
                "ratio": ms / _median_ms(timed),
            }
        )
    return rows


Scored = dict[int, tuple[Scores, float]]


def _scored(group: tuple[str, float], entry: Row, labels: list[Row], truths: list[np.ndarray]) -> Scored:
    """Scores and milliseconds of the entry's cases that belong to the group."""
    return {
        k: (score(image, truths[k]), ms)
        for k, image, ms in zip(entry["cases"], entry["images"], entry["ms"], strict=True)
        if (labels[k]["order"], labels[k]["snr_db"]) == group
    }


def _means(scored: Scored, labels: list[Row]) -> Row:
    images: dict[str, list[Scores]] = {}
    for k, (scores, _) in scored.items():
        images.setdefault(labels[k]["image"], []).append(scores)
    return mean_scores(images)


def _median_ms(scored: Scored) -> float:
    return float(np.median([ms for _, ms in scored.values()]))


def markdown(results: Row) -> str:
    """The table and what was set, from the results alone."""
    base, clock = results["baseline"], results["time_baseline"]
    lines = [
        f"cxgi_bluesky {results['cxgi_bluesky']}, Python {results['python']}, {results['processor']}; threads: 1, "
        f"noise seeds: {results['seeds']}. Gain over our `{base}`, time over that of our `{clock}`, on the same cases "
        "of the same run; ours are in `code`."
    ]
    head = ("order", "noise", "method", "PSNR dB", "gain dB", "SSIM", "CNR of CAS", "ms", "time ratio", "seeds")
    lines.append(table(head, [_cells(row) for row in results["rows"]]))
    lines.append("\\* gives no transmission: PSNR and SSIM after a least-squares affine fit to the truth.")
    about = [peer for peer in results["peers"] if "why" not in peer]
    lines.append(
        table(
            ("peer", "version", "settings", "tuned"),
            [(peer["name"], peer["package"], peer["settings"], peer["tuned"]) for peer in about],
        )
    )
    lines += [f"- not run: {peer['adapter']}: {peer['why']}" for peer in results["peers"] if "why" in peer]
    return "\n\n".join(lines) + "\n"


def _cells(row: Row) -> tuple[str, ...]:
    name = f"`{row['method']}`" if row["ours"] else row["method"]
    return (
        row["order"],
        f"{row['snr_db']:g} dB",
        name + (" *" if row["fitted"] else ""),
        number(row["psnr_db"]),
        number(row["gain_db"], sign=True),
        number(row["ssim"], 3),
        number(row["cas_cnr"]),
        short(row["ms"]),
        short(row["ratio"]),
        str(row["seeds"]),
    )


if __name__ == "__main__":
    main()
