"""What choosing patterns while measuring brings: PSNR at 768 exposures beside fixed orders, exposures until a target.

64 x 64, perfect masks, images of the network. Random objects of all families in turn and the five anchor images; the
noise of an object is that of the suite's workload for its zig-zag scan (sigma a share of the rms of its coefficients),
the same for all orders. Baseline in the same run: 768 patterns in fixed orders.

"oracle": patterns that one would draw who knew the object's own coefficients, all 768 for the image.

Stops: a scan with 64 validation draws, all of them exposed after the start set, ends after the batch whose image has
the target within its interval's lower end. Beside it: how many exposures would do with the truth in hand.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks._timing import report
from benchmarks.suite.timing import one_thread
from benchmarks.suite.workload import truths
from cxgi_bluesky.analysis.metrics import psnr
from cxgi_bluesky.masks.orders import SEEDED, ranking
from cxgi_bluesky.masks.pattern_set import coefficients
from cxgi_bluesky.measurement.coefficients import Coefficients
from cxgi_bluesky.measurement.measurement import Measurement
from cxgi_bluesky.measurement.validation import draw_validation
from cxgi_bluesky.reconstruction.api import reconstruct_many
from cxgi_bluesky.reconstruction.error_model.noise import PreparedMeasurement
from cxgi_bluesky.reconstruction.planning.choose import RULES, batch_size, choose_batch, start_patterns
from cxgi_bluesky.reconstruction.planning.quality import PsnrEstimate, estimate_psnr
from cxgi_bluesky.simulation.objects.registry import render_object
from cxgi_bluesky.simulation.random_objects import FAMILIES, random_object

Image = np.ndarray
SIZE, COUNT, DRAWS = 64, 768, 64
ORDERS = ("zig-zag", "cake-cutting", "variable-density", "learned-density")
SNR_DB = (30.0, 20.0)
STOP_SNR_DB = (30.0, 15.0)
TARGETS_DB = (22.0, 25.0, 28.0)
OTHER_OBJECTS = ("gold", "gear")
_SEED = 80  # of the objects
_TOO_GOOD_DB = 0.5
_ORACLE, _LEAST = 0.7, 1e-6  # exponent of the power by which it draws, the best of 0.35, 0.5 and 0.7; least power


@dataclass(frozen=True, eq=False)
class Scene:
    """An object, and what each pattern gives where it is measured, its noise in it."""

    truth: Image
    coefficient: Image
    sigma: float
    seed: int

    @classmethod
    def of(cls, truth: Image, snr_db: float, seed: int) -> Scene:
        exact = coefficients(truth, np.arange(SIZE**2))
        rms = float(np.sqrt(np.mean(exact[ranking("zig-zag", SIZE)[1:COUNT]] ** 2)))
        sigma = rms * 10 ** (-snr_db / 20)
        return cls(truth, exact + sigma * np.random.default_rng([seed, 5]).normal(size=len(exact)), sigma, seed)

    def measure(self, index: Sequence[int], drawn: Sequence[int] = ()) -> PreparedMeasurement:
        """What these patterns give, beside those that were drawn for validation and are not among them."""
        taken, apart = np.asarray(index, dtype=np.int64), np.setdiff1d(drawn, index).astype(np.int64)
        validation = None
        if len(apart):
            validation = Coefficients(apart, self.coefficient[apart], np.full(len(apart), self.sigma))
        m = Measurement(SIZE, taken, self.coefficient[taken], np.full(len(taken), self.sigma))
        return PreparedMeasurement.from_measurement(replace(m, scale="transmission", validation=validation))


@dataclass(frozen=True)
class Step:
    """An image of an adaptive scan: exposures until then (with validation), true PSNR, what is claimed without it."""

    exposures: int
    psnr_db: float
    claim: PsnrEstimate | None


def fixed(scenes: Sequence[Scene], order: str) -> Image:
    """PSNR of each with 768 patterns of an order."""
    taken = [ranking(order, SIZE, scene.seed if order in SEEDED else None)[:COUNT].tolist() for scene in scenes]
    made = reconstruct_many([scene.measure(index) for scene, index in zip(scenes, taken, strict=True)])
    return np.array([psnr(one.image, scene.truth, data_range=1.0) for one, scene in zip(made, scenes, strict=True)])


def oracle(scenes: Sequence[Scene]) -> Image:
    """PSNR of each with the start set, and the others drawn by the object's own coefficients."""
    measurements = []
    for scene in scenes:
        exact = coefficients(scene.truth, np.arange(SIZE**2)) ** 2
        luck = _ORACLE * np.log(exact + _LEAST * exact[1:].mean())
        luck += np.random.default_rng(scene.seed).gumbel(size=len(exact))
        luck[start_patterns(SIZE)] = np.inf
        measurements.append(scene.measure(np.argsort(-luck, kind="stable")[:COUNT].tolist()))
    made = reconstruct_many(measurements)
    return np.array([psnr(one.image, scene.truth, data_range=1.0) for one, scene in zip(made, scenes, strict=True)])


def adaptive(scenes: Sequence[Scene], rule: str, draws: int = 0, *, claims: bool = False) -> list[list[Step]]:
    """All images of each scan; the last one has 768 exposures."""
    start, batch = start_patterns(SIZE), batch_size(SIZE)
    outside = np.setdiff1d(np.arange(SIZE**2), start)
    drawn = [draw_validation(SIZE, outside, draws, scene.seed) if draws else None for scene in scenes]
    apart = [one.patterns if one is not None else [] for one in drawn]
    measured = [start.tolist() for _ in scenes]
    rngs = [np.random.default_rng([scene.seed, 6]) for scene in scenes]
    steps: list[list[Step]] = [[] for _ in scenes]
    active = list(range(len(scenes)))
    while active:
        measurements = [scenes[i].measure(measured[i], apart[i]) for i in active]
        for i, m, made in zip(list(active), measurements, reconstruct_many(measurements), strict=True):
            scene, one = scenes[i], drawn[i]
            claim = estimate_psnr(m, made.image, draws=one) if claims and one is not None else None
            exposures = len({*measured[i], *apart[i]})
            steps[i].append(Step(exposures, psnr(made.image, scene.truth, data_range=1.0), claim))
            if exposures >= COUNT:
                active.remove(i)
                continue
            chosen = choose_batch(
                made.image,
                rule=rule,
                measured=measured[i],
                validation=apart[i],
                count=min(batch, COUNT - exposures),
                rng=rngs[i],
                sigma=scene.sigma,
            )
            measured[i] += [*chosen.patterns, *chosen.wanted]
    return steps


# ---------------------------------------------------------------- what is reported


def gains(objects: Sequence[Image], snr_db: float, seeds: int, rules: Sequence[str]) -> dict[str, Any]:
    """PSNR of every order, and of chosen patterns with and without validation; mean of the noise seeds."""
    scenes = [Scene.of(truth, snr_db, 1000 * seed + i) for seed in range(seeds) for i, truth in enumerate(objects)]

    def each(values: Image) -> Image:
        return values.reshape(seeds, len(objects)).mean(axis=0)

    orders = {order: each(fixed(scenes, order)) for order in ORDERS}
    zig_zag, best = orders["zig-zag"], max(orders, key=lambda order: float(orders[order].mean()))
    result: dict[str, Any] = {order: round(float(values.mean()), 2) for order, values in orders.items()}
    result["best_fixed_order"] = best
    known = each(oracle(scenes))
    result["oracle"] = {
        "psnr_db": round(float(known.mean()), 2),
        "over_best_fixed_order_db": round(float((known - orders[best]).mean()), 2),
        "worst_over_zig_zag_db": round(float((known - zig_zag).min()), 2),
    }
    for rule in rules:
        for name, draws in ((rule, 0), (f"{rule}, with validation", DRAWS)):
            scans = adaptive(scenes, rule, draws)
            mine = each(np.array([scan[-1].psnr_db for scan in scans]))
            result[name] = {
                "psnr_db": round(float(mine.mean()), 2),
                "over_zig_zag_db": round(float((mine - zig_zag).mean()), 2),
                "over_best_fixed_order_db": round(float((mine - orders[best]).mean()), 2),
                "worst_over_zig_zag_db": round(float((mine - zig_zag).min()), 2),
                "exposures_for_zig_zags_768": exposures_for(scans, float(zig_zag.mean())),
            }
    return result


def exposures_for(scans: Sequence[Sequence[Step]], psnr_db: float) -> int | None:
    """Exposures at which the mean PSNR of all scans is this, linear between batches; None if it never is."""
    grid = np.arange(min(scan[0].exposures for scan in scans), COUNT + 1)
    mean = np.mean([np.interp(grid, [s.exposures for s in scan], [s.psnr_db for s in scan]) for scan in scans], axis=0)
    reached = np.flatnonzero(mean >= psnr_db)
    return int(grid[reached[0]]) if len(reached) else None


def stops(scans: Sequence[Sequence[Step]]) -> dict[str, Any]:
    """Exposures until the lower end of the claim reaches each target, and how often the claim was too good."""
    rows = {}
    for target in TARGETS_DB:
        claimed = [next((s for s in scan if s.claim is not None and s.claim.low_db >= target), None) for scan in scans]
        known = [next((s.exposures for s in scan if s.psnr_db >= target), COUNT) for scan in scans]
        made = [step for step in claimed if step is not None]
        false = sum(step.psnr_db < target - _TOO_GOOD_DB for step in made)
        rows[f"{target:g} dB"] = {
            "exposures": round(float(np.mean([COUNT if step is None else step.exposures for step in claimed])), 1),
            "exposures_with_the_truth": round(float(np.mean(known)), 1),
            "claims": len(made),
            "too_good_by_half_a_db": false,
            "too_good_percent_of_claims": round(100 * false / max(1, len(made)), 1),
            "worst_claim_db": round(min((step.psnr_db - target for step in made), default=0.0), 2),
        }
    return rows


def coverage(scans: Sequence[Sequence[Step]]) -> dict[str, Any]:
    """How the claims of all images of the scans compare with the truth."""
    pairs = [(step.claim, step.psnr_db) for scan in scans for step in scan if step.claim is not None]
    error = np.array([claim.psnr_db - true for claim, true in pairs])
    return {
        "images": len(pairs),
        "error_mean_db": round(float(error.mean()), 2),
        "error_median_db": round(float(np.median(error)), 2),
        "error_rms_db": round(float(np.sqrt(np.mean(error**2))), 2),
        "covered_percent": round(100 * float(np.mean([c.low_db <= true <= c.high_db for c, true in pairs])), 1),
    }


def block_mean(fine: Image) -> Image:
    """On mask pixels, 0..1."""
    mean = fine.reshape(SIZE, len(fine) // SIZE, SIZE, -1).mean(axis=(1, 3))
    return (mean - mean.min()) / float(np.ptp(mean))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--objects", type=int, default=30, help="random objects, of all families in turn")
    parser.add_argument("--seeds", type=int, default=5, help="noise seeds")
    parser.add_argument("--rules", nargs="+", default=list(RULES), help="rules that choose patterns")
    options = parser.parse_args()
    kinds, rng = list(FAMILIES), np.random.default_rng([_SEED, SIZE])
    random = [random_object(rng, SIZE, {kinds[i % len(kinds)]: 1.0}).astype(float) for i in range(options.objects)]
    anchors = list(truths().values())
    results: dict[str, Any] = {}
    with one_thread():
        for name, objects in (("random objects", random), ("anchor images", anchors)):
            for snr_db in SNR_DB:
                results[f"{name}, {snr_db:g} dB"] = gains(objects, snr_db, options.seeds, options.rules)
        others = [block_mean(render_object(name, SIZE, 4)) for name in OTHER_OBJECTS]
        scenes = [
            Scene.of(truth, snr_db, 9000 + i)
            for snr_db in STOP_SNR_DB
            for i, truth in enumerate([*random, *others, *anchors])
        ]
        for rule in options.rules:
            scans = adaptive(scenes, rule, DRAWS, claims=True)
            results[f"stops, {rule}"], results[f"claims, {rule}"] = stops(scans), coverage(scans)
    report("adaptive", results)


if __name__ == "__main__":
    main()
