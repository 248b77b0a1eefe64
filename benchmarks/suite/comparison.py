"""The network beside the other methods on the same measurements: scores a case, means and differences a cell."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.suite.pnp_bm3d import NAME as PEER_NAME
from benchmarks.suite.pnp_bm3d import Peer
from benchmarks.suite.scores import Scores, scale_to_truth, score
from benchmarks.suite.specs import Spec
from cxgi_bluesky.analysis.metrics import affine_fit
from cxgi_bluesky.errors import CxgiError
from cxgi_bluesky.measurement.measurement import Measurement
from cxgi_bluesky.reconstruction.result import Reconstruction

NETWORK, RIVAL = "ch-mwcnn", "tv"
METHODS = ("correlation", "tval3", RIVAL, NETWORK)
Row = dict[str, Any]


@dataclass(frozen=True, eq=False)
class Case:
    """One measurement of one object.

    Attributes
    ----------
    words : mapping
        What tells it from the others; "image" (its object) and "seed" among them.
    measurement : Measurement
    truth : ndarray, shape (n, n)
        Values 0..1.
    """

    words: Mapping[str, Any]
    measurement: Measurement
    truth: NDArray[Any]


def method_rows(cases: Sequence[Case], specs: Sequence[Spec]) -> tuple[list[Row], list[Row]]:
    """Scores of each case by each method, and what a method could not do, with its reason."""
    rows: list[Row] = []
    left_out: dict[tuple[str, str], Row] = {}
    for spec in specs:
        for case in cases:
            try:
                made = spec(case.measurement)
            except CxgiError as error:
                left_out.setdefault((spec.name, str(error)), {"method": spec.name, "why": str(error)})
                continue
            rows.append(_row(case, spec.name, _scores(made, case.truth), made.seconds * 1e3))
    return rows, list(left_out.values())


def _scores(made: Reconstruction, truth: NDArray[Any]) -> Scores:
    return score(scale_to_truth(made, truth), truth)


def peer_rows(cases: Sequence[Case], peer: Peer, minutes: float) -> list[Row]:
    """Scores of the cases that the peer has come to, a seed after the other."""
    first = sorted(cases, key=lambda case: int(case.words["seed"]))
    answer = peer([case.measurement for case in first], minutes)
    rows = []
    for case, image, ms in zip(first, answer.images, answer.ms, strict=True):
        if image is not None:
            if case.measurement.scale == "relative":
                image = affine_fit(image, case.truth)
            rows.append(_row(case, PEER_NAME, score(image, case.truth), ms))
    return rows


def _row(case: Case, method: str, scores: Scores, ms: float | None) -> Row:
    row = {"psnr_db": scores.psnr_db, "ssim": scores.ssim, "cnr": scores.cnr, "ms": ms}
    return {**case.words, "method": method, **row}


def cells(rows: Sequence[Row], keys: Sequence[str]) -> list[Row]:
    """One row for each value of some words.

    Returns
    -------
    list of dict
        The words of `keys`; ``methods``: for each the means `psnr_db`, `ssim`, `cas_cnr` (of the object CAS alone),
        the median `ms`, and `seeds`, how many it was run with; ``network_minus``: see `difference`, for every
        other method. A method that lacks objects of a seed (its time was over) is taken without that seed.
    """
    found: dict[tuple[Any, ...], dict[str, list[Row]]] = {}
    for row in rows:
        found.setdefault(tuple(row[key] for key in keys), {}).setdefault(row["method"], []).append(row)
    made = []
    for words, methods in found.items():
        whole = {name: _whole_seeds(group, methods) for name, group in methods.items()}
        whole = {name: group for name, group in whole.items() if group}
        made.append(
            {
                **dict(zip(keys, words, strict=True)),
                "methods": {name: _means(group) for name, group in whole.items()},
                "network_minus": {
                    name: difference(whole[NETWORK], group)
                    for name, group in whole.items()
                    if name != NETWORK and NETWORK in whole
                },
            }
        )
    return made


def _whole_seeds(rows: Sequence[Row], methods: Mapping[str, Sequence[Row]]) -> list[Row]:
    """The rows of those seeds of which no object is missing."""
    expected: dict[int, set[Any]] = {}
    for row in (row for group in methods.values() for row in group):
        expected.setdefault(row["seed"], set()).add(row["image"])
    there: dict[int, set[Any]] = {}
    for row in rows:
        there.setdefault(row["seed"], set()).add(row["image"])
    return [row for row in rows if there[row["seed"]] == expected[row["seed"]]]


def _means(rows: Sequence[Row]) -> Row:
    letters = [row["cnr"] for row in rows if row["image"] == "CAS"]
    return {
        "psnr_db": float(np.mean([row["psnr_db"] for row in rows])),
        "ssim": float(np.mean([row["ssim"] for row in rows])),
        "cas_cnr": float(np.mean(letters)) if letters else None,
        "ms": float(np.median([math.nan if row["ms"] is None else row["ms"] for row in rows])),
        "seeds": len({row["seed"] for row in rows}),
    }


def difference(network: Sequence[Row], other: Sequence[Row]) -> Row:
    """PSNR of the network less that of another method (dB), on the cases that both have.

    Returns
    -------
    dict
        ``each``: by object, the mean over its seeds; ``mean_db`` over the objects; ``worst`` and ``worst_db``: the
        object on which the network does least.
    """
    theirs = {(row["image"], row["seed"]): row["psnr_db"] for row in other}
    each: dict[str, list[float]] = {}
    for row in network:
        key = (row["image"], row["seed"])
        if key in theirs:
            each.setdefault(str(row["image"]), []).append(row["psnr_db"] - theirs[key])
    means = {image: float(np.mean(values)) for image, values in each.items()}
    worst = min(means, key=means.__getitem__)
    return {
        "each": means,
        "mean_db": float(np.mean(list(means.values()))),
        "worst": worst,
        "worst_db": means[worst],
    }
