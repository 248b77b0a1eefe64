"""The comparison that the network must stand: everything in one run, tuned TV and PnP-BM3D beside it."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.paper.training_seen import families_seen
from benchmarks.suite import network_cases, workload
from benchmarks.suite.comparison import METHODS, NETWORK, RIVAL, Case, cells, method_rows, peer_rows
from benchmarks.suite.network_speed import network_speed
from benchmarks.suite.pnp_bm3d import NAME as PEER_NAME
from benchmarks.suite.pnp_bm3d import Peer, PeerPictures, pnp_bm3d
from benchmarks.suite.specs import Spec
from benchmarks.suite.trust import verdicts
from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.measurement.measurement import Measurement

TABLES = ("anchor", "classes", "sizes", "boards", "trust", "speed")
PEER_MINUTES = 9.0
_PEER_SHARES = {"anchor": 0.5, "classes": 0.3, "boards": 0.2}
WORST_DB = -0.3  # the network is wanted to lose no more than this against `RIVAL` on any image
Note = Callable[[str], None]
# seeds, peer, minutes of the peer, options of the network, note -> table; it needs a beamline, so the caller brings it
Boards = Callable[[int, Peer, float, Mapping[str, Any], Note], dict[str, Any]]


def network(
    specs: Sequence[Spec],
    *,
    seeds: int = 3,
    orders: Sequence[str] = network_cases.ORDERS,
    tables: Sequence[str] = TABLES,
    boards: Boards | None = None,
    peer: Peer = pnp_bm3d,
    peer_minutes: float = PEER_MINUTES,
    note: Note = lambda text: None,
) -> dict[str, Any]:
    """Some of the tables.

    Parameters
    ----------
    specs : sequence of Spec
        The network and its rival among them (`METHODS`).
    seeds : int
        Noise seeds; for drawn objects also their own, for boards the boards.
    orders : sequence of str
        Of the anchor workload and the verdicts.
    tables : sequence of str
        Of `TABLES`.
    boards : callable, optional
        What measures etched boards; without it that table is not there.
    peer : callable
        Makes the images of PnP-BM3D (`peers.pnp_bm3d`).
    peer_minutes : float
        Time for all images of the peer together; it starts with seed 0 of what matters most.
    note : callable
        Told what is being measured.

    Returns
    -------
    dict
        ``network``, ``rival``, ``methods``, ``wanted``, ``peer`` (settings, or why it is not there) and the tables
        under their names.

    Raises
    ------
    CxgiError
        For an unknown table, or minutes that are no number above 0.
    """
    for name in tables:
        if name not in TABLES:
            raise CxgiError(f"table {name!r} is unknown: choose from {', '.join(TABLES)}")
    if not peer_minutes > 0 or math.isinf(peer_minutes):
        raise CxgiError(f"{peer_minutes:g} minutes for {PEER_NAME}: give a number above 0")
    asked = _Asked(peer)
    minutes = {name: share * peer_minutes for name, share in _PEER_SHARES.items()}
    results: dict[str, Any] = {"network": NETWORK, "rival": RIVAL, "methods": list(METHODS), "seeds": seeds}
    results["wanted"] = {"worst_db": WORST_DB}
    if "anchor" in tables:
        note("network: anchor workload")
        cases = list(network_cases.anchor_cases(orders, seeds))
        results["anchor"] = _table(cases, ("order", "fraction", "snr_db"), specs, asked, minutes["anchor"], note)
    if "classes" in tables:
        note("network: classes of objects")
        options = next(spec.options for spec in specs if spec.name == NETWORK)
        cases = list(network_cases.class_cases(seeds, families_seen(options.get("weights"))))
        results["classes"] = _table(cases, ("class", "seen"), specs, asked, minutes["classes"], note)
    if "sizes" in tables:
        results["sizes"] = _sizes(specs, seeds, note)
    if "boards" in tables and boards is not None:
        options = next(spec.options for spec in specs if spec.name == NETWORK)
        results["boards"] = boards(seeds, asked, minutes["boards"], options, note)
    if "trust" in tables:
        note("network: verdicts on real and on shuffled buckets")
        results["trust"] = _trust(specs, orders, seeds)
    if "speed" in tables:
        note("network: speed")
        rows, left_out = network_speed([spec for spec in specs if spec.name != "correlation"])
        results["speed"] = {"rows": rows, "left_out": left_out}
    return {**results, "peer": asked.words()}


class _Asked:
    """A peer that remembers what it said of itself."""

    def __init__(self, peer: Peer) -> None:
        self._peer, self._answers = peer, list[PeerPictures]()

    def __call__(self, measurements: Sequence[Measurement], minutes: float) -> PeerPictures:
        answer = self._peer(measurements, minutes)
        self._answers.append(answer)
        return answer

    def words(self) -> dict[str, Any]:
        """Settings, and why it is not there; nothing where it was not asked."""
        whys = [answer.why for answer in self._answers if answer.why]
        settings = [answer.settings for answer in self._answers if answer.settings]
        pictures = sum(image is not None for answer in self._answers for image in answer.images)
        words = {"name": PEER_NAME, "settings": next(iter(settings), None), "why": next(iter(whys), None)}
        return {**words, "pictures": pictures, "asked_for": sum(len(answer.images) for answer in self._answers)}


def _table(
    cases: Sequence[Case], keys: Sequence[str], specs: Sequence[Spec], peer: Peer, minutes: float, note: Note
) -> dict[str, Any]:
    rows, left_out = method_rows(cases, specs)
    note(f"network: {PEER_NAME}, at most {minutes:.1f} minutes")
    return {"rows": cells([*rows, *peer_rows(cases, peer, minutes)], keys), "left_out": left_out}


def _sizes(specs: Sequence[Spec], seeds: int, note: Note) -> dict[str, Any]:
    rows: list[dict[str, Any]] = []
    left_out: list[dict[str, Any]] = []
    for size in network_cases.SIZES:
        note(f"network: size {size}")
        cases = list(network_cases.size_cases(size, seeds))
        made, failed = method_rows(cases, [spec for spec in specs if spec.name in (RIVAL, NETWORK)])
        rows += cells(made, ("size",))
        left_out += [{"size": size, **row} for row in failed]
    return {"rows": rows, "left_out": left_out}


def _trust(specs: Sequence[Spec], orders: Sequence[str], seeds: int) -> dict[str, Any]:
    usual = (workload.FRACTION, network_cases.SNR_DB)
    cases = [
        case
        for case in network_cases.anchor_cases(orders, seeds)
        if (case.words["fraction"], case.words["snr_db"]) == usual
    ]
    return {"rows": verdicts(cases, [spec for spec in specs if spec.name in (RIVAL, NETWORK)])}
