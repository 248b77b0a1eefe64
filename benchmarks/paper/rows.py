"""One table row a method, a kind of reference and an exposure time: CNR, PSNR, SSIM, gap, beside the paper's CNR."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.paper import paper
from benchmarks.paper.gold_gap import SHOWN_SEGMENTS, GapScore, score_gap
from benchmarks.paper.scans import EXPOSURE_S, ORDER, beamline, scan_image, scan_reference
from benchmarks.suite.pnp_bm3d import NAME as PEER_NAME
from benchmarks.suite.pnp_bm3d import Peer, pnp_bm3d
from cxgi_bluesky.analysis.metrics import compare
from cxgi_bluesky.masks.pattern_set import PatternSet
from cxgi_bluesky.measurement.exposures import Exposures
from cxgi_bluesky.measurement.measurement import Measurement
from cxgi_bluesky.reconstruction.api import reconstruct
from cxgi_bluesky.reconstruction.cross_validation import cross_validate
from cxgi_bluesky.simulation.scans import record_tile_maps

Image = NDArray[Any]
Reference = bool | str  # False: none, True: the reference scan, "maps": measured tile maps
REFERENCES: tuple[Reference, ...] = (False, True, "maps")
REFERENCE_NAMES: dict[Reference, str] = {False: "none", True: "reference scan", "maps": "measured masks"}
CAMERA_NOISE = 0.01  # rms of a camera pixel, open tile 1
_PIXEL_UM = 10.0  # of the gold board, in the scale in which the object is drawn


@dataclass(frozen=True, eq=False)
class Score:
    """One image of one seed against the truth; `gap` of the gold object alone."""

    object_name: str
    board: str
    method: str
    reference: Reference
    exposure_s: float
    cnr: float
    psnr_db: float
    ssim: float
    gap: GapScore | None
    supported: bool | None


@dataclass(frozen=True, eq=False)
class ObjectResult:
    """What a seed gives of one object: scores, images, the truth, and D_r as measured."""

    scores: list[Score]
    pictures: dict[tuple[str, Reference], Image]
    truth: Image
    d_r: tuple[float, float]


def measure_objects(
    board: str, object_names: Sequence[str], seed: int, exposure_s: float = EXPOSURE_S
) -> dict[str, ObjectResult]:
    """Scan each object, the reference once, photograph the tiles, and reconstruct in every way.

    With PnP-BM3D too, where its environment is installed.
    """
    results = {}
    for name, scanned in scan_objects(board, object_names, seed, exposure_s=exposure_s):
        scores, pictures = reconstructed(scanned, paper.METHODS)
        more, theirs = by_peer(scanned)
        if (name, "TVAL3") in paper.CNR and board == "cu32":
            scores.append(tval3_as_measured(scanned))
        results[name] = ObjectResult([*scores, *more], {**pictures, **theirs}, scanned.truth, scanned.d_r)
    return results


@dataclass(frozen=True, eq=False)
class Scanned:
    """An object's measurement with every kind of reference, its truth, and D_r as measured."""

    name: str
    board: str
    measurements: Mapping[Reference, Measurement]
    truth: Image
    d_r: tuple[float, float]
    exposure_s: float


def scan_objects(
    board: str, object_names: Sequence[str], seed: int, order: str = ORDER, *, exposure_s: float = EXPOSURE_S
) -> Iterator[tuple[str, Scanned]]:
    """Scan each object on the board of a seed, the reference and the tiles' photographs once.

    Scans of other exposure times have the same noise, drift and stage errors, the noise as large as it then is.
    """
    count = paper.EXPOSURES[board]
    first = beamline(board, object_names[0], seed, run=0)
    reference = scan_reference(first, count, order, exposure_s)
    patterns = PatternSet.from_dict(reference.start["cxgi"]["pattern_set"])
    maps = record_tile_maps(first.simulation, patterns, noise=CAMERA_NOISE, seed=seed)
    for run, name in enumerate(object_names, start=1):
        line = beamline(board, name, seed, run=run)
        image = scan_image(line, count, order, exposure_s)
        measurements: dict[Reference, Measurement] = {
            False: Measurement.from_exposures(image),
            True: Measurement.from_exposures(image, reference=reference),
            "maps": Measurement.from_exposures(image, reference=reference, tile_maps=maps),
        }
        yield name, Scanned(name, board, measurements, line.simulation.truth, _d_r(reference), exposure_s)


def _d_r(reference: Exposures) -> tuple[float, float]:
    measured = reference.estimate_d_r()
    return (math.nan, math.nan) if measured is None else measured


def reconstructed(
    scanned: Scanned, methods: Mapping[str, tuple[str, Mapping[str, Any]]], *, verdicts: bool = True
) -> tuple[list[Score], dict[tuple[str, Reference], Image]]:
    """Scores and images of every method and reference; `verdicts`: with the held-out score."""
    scores, pictures = [], {}
    for reference, measurement in scanned.measurements.items():
        for label, (method, options) in methods.items():
            image = reconstruct(measurement, method=method, **options).image
            judged = None
            if verdicts and reference != "maps":
                judged = cross_validate(measurement, method=method, **options)
            supported = None if judged is None else judged["supported"]
            scores.append(_score(scanned, label, reference, image, supported))
            pictures[label, reference] = image
    return scores, pictures


def tval3_as_measured(scanned: Scanned) -> Score:
    """Score of TVAL3 without a reference, the error that all coefficients have in common not taken off before."""
    measured = scanned.measurements[False]
    kept = replace(measured, sigma_common=0.0, source={**measured.source, "coding": "signed"})  # nothing in common
    return _score(scanned, paper.TVAL3_AS_MEASURED, False, reconstruct(kept, method="tval3").image, None)


def by_peer(
    scanned: Scanned, peer: Peer = pnp_bm3d, minutes: float = math.inf
) -> tuple[list[Score], dict[tuple[str, Reference], Image]]:
    """As `reconstructed`, by PnP-BM3D: nothing where it is not installed, or its time was over."""
    answer = peer(list(scanned.measurements.values()), minutes)
    made = zip(scanned.measurements, answer.images, strict=True)
    pictures = {(PEER_NAME, reference): image for reference, image in made if image is not None}
    return [_score(scanned, PEER_NAME, key[1], image, None) for key, image in pictures.items()], pictures


def _score(scanned: Scanned, label: str, reference: Reference, image: Image, supported: bool | None) -> Score:
    numbers = compare(image, scanned.truth)
    return Score(
        scanned.name,
        scanned.board,
        label,
        reference,
        scanned.exposure_s,
        numbers["cnr"],
        numbers["psnr_db"],
        numbers["ssim"],
        score_gap(image, scanned.truth) if scanned.name == "gold" else None,
        supported,
    )


def table_rows(scores: Sequence[Score]) -> list[dict[str, Any]]:
    """Mean and spread over the seeds of each object, method, reference and exposure time."""
    groups: dict[tuple[str, str, Reference, float], list[Score]] = {}
    for score in scores:
        groups.setdefault((score.object_name, score.method, score.reference, score.exposure_s), []).append(score)
    rows = []
    for (name, method, reference, exposure_s), group in groups.items():
        cnr = np.array([score.cnr for score in group])
        judged = [score.supported for score in group if score.supported is not None]
        rows.append(
            {
                "object": name,
                "board": group[0].board,
                "method": method,
                "reference": reference,
                "exposure_s": exposure_s,
                "cnr_mean": float(cnr.mean()),
                "cnr_std": float(cnr.std(ddof=1)) if len(cnr) > 1 else None,
                "cnr_each": cnr.tolist(),
                "psnr_db": float(np.mean([score.psnr_db for score in group])),
                "ssim": float(np.mean([score.ssim for score in group])),
                **gap_words([score.gap for score in group if score.gap is not None]),
                "paper_cnr": paper.CNR.get((name, method)) if (reference, exposure_s) == (False, EXPOSURE_S) else None,
                "supported": float(np.mean(judged)) if judged else None,
            }
        )
    return rows


def gap_words(gaps: Sequence[GapScore]) -> dict[str, float | None]:
    """Of the gold object's gap: mean brightness over the true one, mean segments of eight, median width (um).

    Each is None for other objects, the width also where fewer than half of the seeds show the gap along its length.
    """
    shown = [gap.width_px * _PIXEL_UM for gap in gaps if gap.segments >= SHOWN_SEGMENTS and math.isfinite(gap.width_px)]
    return {
        "gap_brightness": float(np.mean([gap.amplitude for gap in gaps])) if gaps else None,
        "gap_segments": float(np.mean([gap.segments for gap in gaps])) if gaps else None,
        "gap_um": float(np.median(shown)) if len(shown) > len(gaps) / 2 else None,
    }
