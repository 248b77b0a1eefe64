"""Simulated etched boards for the comparison of the suite's part `network`: every kind of reference, every method."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.paper import paper
from benchmarks.paper.rows import Score, by_peer, reconstructed, scan_objects, table_rows
from benchmarks.paper.training_seen import training_seen
from benchmarks.suite.pnp_bm3d import Peer

NETWORK = "CH-MWCNN"
# Board, objects, order, exposure time (s). On the copper board all 1024 patterns are measured: another order is the
# same set, and only the drift would differ. The gap of the gold object shows from about 3 s on.
BoardScan = tuple[str, tuple[str, ...], str, float]
SCANS: tuple[BoardScan, ...] = (
    ("cu32", ("CAS", "gear"), "cake-cutting", 1.0),
    ("au64", ("gold",), "cake-cutting", 1.0),
    ("au64", ("gold",), "zig-zag", 1.0),
    ("au64", ("gold",), "zig-zag", 3.0),
)
_KEYS = ("object", "board", "order", "exposure_s", "reference")


def measure_boards(
    seeds: int,
    peer: Peer,
    minutes: float,
    network_options: Mapping[str, Any],
    note: Callable[[str], None] = lambda text: None,
    *,
    scans: Sequence[BoardScan] = SCANS,
) -> dict[str, Any]:
    """Scores of the methods on etched boards, one a seed.

    Parameters
    ----------
    seeds : int
        Each is another board, other noise and drift.
    peer : callable
        Makes the images of PnP-BM3D.
    minutes : float
        Its time for all of them together.
    network_options : mapping
        Options of the network, such as its weights.
    note : callable
        Told what is being measured.
    scans : sequence of (board, objects, order, exposure time in s)

    Returns
    -------
    dict
        ``rows``: those of `rows.table_rows` with their order and ``cnr_ratio``, the network's mean CNR over that of
        the row's method; ``seen``: a sentence on what the network's training has seen of such boards.
    """
    seen = training_seen(network_options.get("weights"))
    methods = {**paper.METHODS, NETWORK: ("ch-mwcnn", dict(network_options))}
    found: dict[str, list[Score]] = {}
    left_s = 60 * minutes
    for seed in range(seeds):
        for board, names, order, exposure_s in scans:
            note(f"network: board {board}, {order}, {exposure_s:g} s, seed {seed}")
            for _, scanned in scan_objects(board, names, seed, order, exposure_s=exposure_s):
                scores, _ = reconstructed(scanned, methods, verdicts=False)
                started = time.monotonic()
                if left_s > 0:
                    scores += by_peer(scanned, peer, left_s / 60)[0]
                left_s -= time.monotonic() - started
                found.setdefault(order, []).extend(scores)
    rows = [{**row, "order": order} for order, scores in found.items() for row in table_rows(scores)]
    return {"rows": with_ratio(rows), "boards": seeds, "seen": seen.sentence()}


def with_ratio(rows: Sequence[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows with ``cnr_ratio``: CNR of the network over that of the row's method on the same seeds."""
    network = {tuple(row[key] for key in _KEYS): row["cnr_each"] for row in rows if row["method"] == NETWORK}
    return [
        {**row, "cnr_ratio": _ratio(network.get(tuple(row[key] for key in _KEYS)), row["cnr_each"])} for row in rows
    ]


def _ratio(network: Sequence[float] | None, other: Sequence[float]) -> float | None:
    """Of the means over the seeds that both have: where its time was over, the peer lacks the last ones."""
    if network is None:
        return None
    shared = min(len(network), len(other))
    below = math.fsum(other[:shared])
    return math.fsum(network[:shared]) / below if below > 0 else None
