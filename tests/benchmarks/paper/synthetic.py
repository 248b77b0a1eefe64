"""What the scans of a reproduction would give, as numbers made up here: small, quick, and known."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from benchmarks.paper import curves, paper, run
from benchmarks.paper.gold_gap import GapScore
from benchmarks.paper.resolution import SPOTS_UM, Resolution
from benchmarks.paper.rows import REFERENCES, ObjectResult, Score
from cxgi_bluesky.cli._options import plain

# without a reference; those of CAS stand in the paper's order, those of the gear and of gold do not
CNR = {
    "CAS": {"GI": 1.5, "TVAL3": 1.7, "TV/L2": 2.0, "TV/L2 + edges": 1.9, "CH-MWCNN": 2.4},
    "gear": {"GI": 0.6, "TVAL3": 0.7, "TV/L2": 0.9, "TV/L2 + edges": 0.85, "CH-MWCNN": 1.5},
    "gear-aperture": {"GI": 0.8, "TVAL3": 0.7, "TV/L2": 0.9, "TV/L2 + edges": 0.85, "CH-MWCNN": 1.5},
    "gold": {"GI": 0.7, "TVAL3": 0.3, "TV/L2": 2.9, "TV/L2 + edges": 2.5, "CH-MWCNN": 0.2},
}
GAIN = {False: 1.0, True: 1.5, "maps": 2.0}


def image(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((8, 8))


def hadamard_curve(case: str, seed: int) -> list[float]:
    """Rises to 300 exposures and falls, on the perfect board rises to the end."""
    counts = np.array(curves.EXPOSURES, dtype=float)
    level = np.log2(counts / 8) if case == "perfect_board" else 2.4 - 0.4 * np.abs(np.log2(counts / 300))
    return (level + 0.1 * seed).tolist()


def sandpaper_curve(seed: int) -> list[float]:
    return (2.2 * np.sqrt(np.array(curves.SANDPAPER_EXPOSURES) / 10000) + 0.01 * seed).tolist()


def score(name: str, method: str, reference: Any = False, **changes: Any) -> Score:
    values = {
        "object_name": name,
        "board": "au64" if name == "gold" else "cu32",
        "method": method,
        "reference": reference,
        "cnr": CNR.get(name, CNR["gear"]).get(method, 0.0) * GAIN[reference],
        "psnr_db": 12.34,
        "ssim": 0.567,
        "exposure_s": 1.0,
        "gap": GapScore(0.53, 7, 1.1) if name == "gold" else None,
        "supported": None if reference == "maps" else True,
    }
    return Score(**{**values, **changes})


def object_result(name: str, seed: int, *peers: str, exposure_s: float = 1.0) -> ObjectResult:
    keys = [(method, reference) for reference in REFERENCES for method in paper.METHODS]
    scores = [score(name, *key) for key in keys]
    keys += [(peer, reference) for peer in peers for reference in REFERENCES]
    scores += [score(name, *key, cnr=4.0) for key in keys[len(scores) :]]
    if name in ("CAS", "gear"):
        scores.append(score(name, paper.TVAL3_AS_MEASURED, cnr=0.45))
    scores = [replace(s, cnr=s.cnr + 0.02 * seed, exposure_s=exposure_s) for s in scores]
    return ObjectResult(scores, {key: image(i) for i, key in enumerate(keys)}, image(), (0.8 + 0.01 * seed, 0.001))


def resolution(seed: int) -> Resolution:
    edges = []
    for spot in SPOTS_UM:
        across, down = spot if isinstance(spot, tuple) else (spot, spot)
        widths = {"ghost_um": 12.0 + seed, "ghost_sigma_um": 0.5, "ghost_mtf50_per_mm": 40.0, "ghost_pixel_um": 10.2}
        direct = {"direct_um": across / 4, "direct_sigma_um": 0.1, "direct_mtf50_per_mm": 60.0, "direct_pixel_um": 4.5}
        edges.append({"spot_x_um": across, "spot_y_um": down, **widths, **direct, "direct_expected_um": across / 4})
    return Resolution({"x": (30.0 + seed, 0.5), "y": (36.5, 0.25)}, edges, image())


def results(seeds: int) -> dict[tuple[str, str, int], Any]:
    found: dict[tuple[str, str, int], Any] = {}
    for seed in range(seeds):
        shown = {count: image(count) for counts in paper.EXPOSURES_SHOWN.values() for count in counts}
        for case in run.HADAMARD_CURVES:
            found["fig2", case, seed] = (hadamard_curve(case, seed), shown, image())
        found["fig2", "sandpaper", seed] = (sandpaper_curve(seed), shown, image())
        found["fig3", "objects", seed] = {name: object_result(name, seed) for name in run.COPPER_OBJECTS}
        found |= gold_scans(seed)
        found["fig4", "resolution", seed] = resolution(seed)
    return found


def gold_scans(seed: int, *peers: str) -> dict[tuple[str, str, int], Any]:
    return {
        ("fig4", run.gold_scan(s), seed): {"gold": object_result("gold", seed, *peers, exposure_s=s)}
        for s in paper.GOLD_EXPOSURES_S
    }


def numbers(found: dict[tuple[str, str, int], Any], seeds: int, figures: tuple[str, ...] = run.FIGURES) -> Any:
    """As the command makes them."""
    return {**plain(run.numbers_of(found, figures, seeds)), "minutes": 12.3}
