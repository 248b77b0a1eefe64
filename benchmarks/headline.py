"""The gap of 10 um in the gold object, one mask pixel wide: at which exposure time an image shows it, and how wide.

768 of 4096 patterns, scans of the simulated gold board at about 3.4 pA, where the coefficients have 5 dB of signal to
noise after 1 s. Masks: `perfect`; etched, with a reference scan of the same exposure time (`reference`) or with
measured tile maps (`maps`), several boards. Per scan (`benchmarks.paper.gold_gap`): the gap's brightness over the true
one; of eight pieces of its length, those that show it; its width where six or more do; PSNR (dB, after an affine fit)
and CNR. The same object without the gap is scanned too: three or more pieces that show one are a false line.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks._timing import report
from benchmarks.paper.gold_gap import FALSE_SEGMENTS, SEGMENTS, GapScore, score_gap
from benchmarks.paper.rows import CAMERA_NOISE
from benchmarks.paper.scans import etched_parameters, without_defects
from benchmarks.suite.timing import one_thread
from cxgi_bluesky.analysis.metrics import compare
from cxgi_bluesky.masks.board import MaskBoard, load_board
from cxgi_bluesky.masks.orders import SEEDED
from cxgi_bluesky.masks.pattern_set import PatternSet, coefficients
from cxgi_bluesky.masks.tile_maps import TileMaps
from cxgi_bluesky.measurement.exposures import Exposures
from cxgi_bluesky.measurement.measurement import Measurement
from cxgi_bluesky.measurement.schema import SCHEMA
from cxgi_bluesky.reconstruction.api import reconstruct
from cxgi_bluesky.simulation.beamline import BeamlineSimulation
from cxgi_bluesky.simulation.objects.registry import render_object
from cxgi_bluesky.simulation.scans import record_tile_maps

BOARD, COUNT = "au64", 768
MASKS = ("perfect", "reference", "maps")
METHODS = ("ch-mwcnn", "tv", "tval3", "correlation")
WITH_GAP, WITHOUT_GAP = "gold", "gold:gap_um=0"
_FIELDS = {"pattern_index": "pattern_index", "bucket": "current", "sigma": "sigma", "i0": None}
_OPENS, _OPEN_EVERY = 4, 64  # exposures of the open tile before and after the patterns, and between them


@dataclass(frozen=True)
class Way:
    """One way to make the images: a label, a method of `reconstruct` and its options."""

    label: str
    method: str
    options: dict[str, Any]

    def image(self, measurement: Measurement) -> NDArray[Any]:
        """Image of a measurement, shape (n, n)."""
        return reconstruct(measurement, method=self.method, **self.options).image


@dataclass(frozen=True)
class Scan:
    """Which scan: masks, order, exposure time (s), object, and the seed, by which the boards take turns."""

    masks: str
    order: str
    exposure_s: float
    object_name: str
    seed: int
    boards: int = 2

    def measure(self) -> Measurement:
        """Scan the object, and the reference where the masks have one."""
        patterns = PatternSet(64, COUNT, self.order, 1 if self.order in SEEDED else None)
        image = scan(self._simulation(self.object_name, 0), patterns, self.exposure_s)
        if self.masks == "perfect":
            return Measurement.from_exposures(image)
        if self.masks == "maps":
            return Measurement.from_exposures(image, tile_maps=tile_maps(patterns, self.seed % self.boards))
        bare = scan(self._simulation(self.object_name, 1), patterns, self.exposure_s, reference=True)
        return Measurement.from_exposures(image, reference=bare)

    def truth(self) -> NDArray[Any]:
        """True transmission, shape (n, n)."""
        return self._simulation(self.object_name, 0).truth

    def _simulation(self, object_name: str, run: int) -> BeamlineSimulation:
        noise = np.random.SeedSequence([self.seed, run, int(1000 * self.exposure_s)]).generate_state(1)[0]
        return simulation(object_name, self.seed % self.boards, int(noise), perfect=self.masks == "perfect")


def simulation(object_name: str, board_seed: int, noise_seed: int, *, perfect: bool = False) -> BeamlineSimulation:
    """The gold board's beamline; the board is that of its seed, or as designed."""
    board = load_board(BOARD)
    parameters = etched_parameters(board, board_seed)
    parameters = without_defects(parameters) if perfect else parameters
    return BeamlineSimulation(board, drawn(object_name, parameters.subpixels), parameters, seed=noise_seed)


@lru_cache(maxsize=4)
def drawn(object_name: str, subpixels: int) -> NDArray[np.float32]:
    """An object on sub-pixels, shape (64 * subpixels,) * 2."""
    return render_object(object_name, 64, subpixels)


@lru_cache(maxsize=8)
def tile_maps(patterns: PatternSet, board_seed: int) -> TileMaps:
    """A board's tiles as photographed once."""
    return record_tile_maps(simulation(WITH_GAP, board_seed, 0), patterns, noise=CAMERA_NOISE, seed=board_seed)


def scan(line: BeamlineSimulation, patterns: PatternSet, exposure_s: float, *, reference: bool = False) -> Exposures:
    """Expose as the plans `hadamard_scan` and `reference_scan` do, a tenth of their time as no RunEngine runs.

    Parameters
    ----------
    line : BeamlineSimulation
    patterns : PatternSet
    exposure_s : float
        Exposure time per tile (s).
    reference : bool, optional
        With the object out; False by default.
    """
    board, exposures = line.board, Exposures()
    exposures("start", {"uid": "reference" if reference else "image", "cxgi": _block(board, patterns, reference)})
    numbers: dict[str, int] = {}

    def expose(stream: str, tile: int, pattern_index: int = -1) -> None:
        if stream not in numbers:
            exposures("descriptor", {"uid": stream, "name": stream})
        numbers[stream] = numbers.get(stream, 0) + 1
        line.move_to(*board.position_mm(tile))
        if stream != "dark":
            line.open_shutter()
        current, sigma = line.expose(exposure_s)
        line.close_shutter()
        data = {"pattern_index": pattern_index, "current": current, "sigma": sigma}
        time = line.exposures * exposure_s
        exposures("event", {"descriptor": stream, "seq_num": numbers[stream], "data": data, "time": time})

    def expose_open(stream: str, count: int) -> None:
        for _ in range(count):
            expose(stream, board.open_tile_number)

    for _ in range(_OPENS):
        expose("dark", board.open_tile_number)
    line.object_in = False
    expose_open("incident", _OPENS)
    line.object_in = not reference
    expose_open("open", _OPENS)
    for done, k in enumerate(patterns.pattern_index.tolist()):
        if done and done % _OPEN_EVERY == 0:
            expose_open("open", 1)
        expose("primary", board.tile_of(k), k)
    expose_open("open", _OPENS)
    return exposures


def _block(board: MaskBoard, patterns: PatternSet, reference: bool) -> dict[str, Any]:
    named = {"id": board.name, "sha256": board.sha256, "d_r": board.d_r, "pixel_um": board.pixel_um}
    return {
        "schema": SCHEMA,
        "purpose": "reference" if reference else "image",
        "board": named,
        "pattern_set": patterns.to_dict(),
        "fields": _FIELDS,
    }


# ---------------------------------------------------------------- scores


def ways_of(methods: Sequence[str], weights: Sequence[str]) -> list[Way]:
    """The methods; the network once for each file of weights, or with those shipped."""
    ways: list[Way] = []
    for method in methods:
        if method == "ch-mwcnn" and weights:
            ways += [Way(f"ch-mwcnn {Path(file).stem}", method, {"weights": file}) for file in weights]
        else:
            ways.append(Way(method, method, {}))
    return ways


def measure(scans: Sequence[Scan], ways: Sequence[Way]) -> Iterator[tuple[Scan, Way, dict[str, Any]]]:
    """What each way's image of each scan shows."""
    for one in scans:
        measurement, truth = one.measure(), one.truth()
        print(one, file=sys.stderr, flush=True)
        for way in ways:
            image = way.image(measurement)
            gap = score_gap(image, truth)
            scores = compare(image, truth)
            yield one, way, {"gap": gap, "psnr_db": scores["psnr_db"], "cnr": scores["cnr"]}


def table(found: Sequence[tuple[Scan, Way, dict[str, Any]]]) -> list[dict[str, Any]]:
    """A row for each kind of masks, order, exposure time and way: means over the scans, and their counts."""
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for one, way, scores in found:
        groups.setdefault((one.masks, one.order, one.exposure_s, way.label), []).append(scores)
    return [
        {**dict(zip(("masks", "order", "exposure_s", "method"), key, strict=True)), **summary(group)}
        for key, group in groups.items()
    ]


def summary(scores: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Means over scans of one kind, and in how many of them the gap shows."""
    gaps: list[GapScore] = [score["gap"] for score in scores]
    widths = [gap.width_px for gap in gaps if np.isfinite(gap.width_px)]
    return {
        "scans": len(gaps),
        "amplitude": round(float(np.mean([gap.amplitude for gap in gaps])), 3),
        "segments": round(float(np.mean([gap.segments for gap in gaps])), 1),
        "width_px": round(float(np.median(widths)), 2) if widths else None,
        "psnr_db": round(float(np.mean([score["psnr_db"] for score in scores])), 2),
        "cnr": round(float(np.mean([score["cnr"] for score in scores])), 2),
        "scans_shown": sum(gap.shows for gap in gaps),
        "scans_all_segments": sum(gap.segments == SEGMENTS for gap in gaps),
        "scans_width_within_30_percent": sum(gap.width_is_right for gap in gaps),
        "amplitude_each": [round(gap.amplitude, 3) for gap in gaps],
        "segments_each": [gap.segments for gap in gaps],
        "width_px_each": [round(gap.width_px, 2) if np.isfinite(gap.width_px) else None for gap in gaps],
    }


def false_lines(found: Sequence[tuple[Scan, Way, dict[str, Any]]]) -> list[dict[str, Any]]:
    """For each kind of masks, order and way: scans without a gap in which a line lies at its place."""
    groups: dict[tuple[str, str, str], list[int]] = {}
    for one, way, scores in found:
        groups.setdefault((one.masks, one.order, way.label), []).append(scores["gap"].segments)
    return [
        {
            "masks": masks,
            "order": order,
            "method": label,
            "scans": len(segments),
            "false_lines": sum(number >= FALSE_SEGMENTS for number in segments),
            "segments_each": segments,
        }
        for (masks, order, label), segments in groups.items()
    ]


def light() -> dict[str, float]:
    """Mean bucket of a scan (pA), and its coefficients' signal to noise after 1 s (dB); masks perfect."""
    line, patterns = simulation(WITH_GAP, 0, 0, perfect=True), PatternSet(64, COUNT, "zig-zag")
    exposures = scan(line, patterns, 1.0)
    measured = Measurement.from_exposures(exposures)
    exact = coefficients(line.truth, measured.pattern_index)[measured.pattern_index != 0]
    noise = measured.sigma[measured.pattern_index != 0]
    return {
        "mean_bucket_pa": round(float(exposures.buckets().bucket.mean()), 2),
        "snr_db_after_1_s": round(10 * float(np.log10(np.mean(exact**2) / np.mean(noise**2))), 1),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", action="append", default=[], metavar="FILE", help="of the network; repeatable")
    parser.add_argument("--methods", nargs="+", default=list(METHODS), choices=METHODS)
    parser.add_argument("--masks", nargs="+", default=list(MASKS), choices=MASKS)
    parser.add_argument("--orders", nargs="+", default=["zig-zag"])
    parser.add_argument("--exposures", nargs="+", type=float, default=[1.0, 2.0, 3.0, 10.0], metavar="S")
    parser.add_argument("--seeds", type=int, default=6, help="scans of each kind (default: %(default)s)")
    parser.add_argument("--boards", type=int, default=2, help="etched boards, in turn (default: %(default)s)")
    parser.add_argument("--false-scans", type=int, default=30, help="without a gap, at 1 to 3 s (default: %(default)s)")
    options = parser.parse_args()
    ways = ways_of(options.methods, options.weights)
    kinds = [(masks, order) for masks in options.masks for order in options.orders]
    with_gap = [
        Scan(masks, order, exposure_s, WITH_GAP, seed, options.boards)
        for masks, order in kinds
        for exposure_s in options.exposures
        for seed in range(options.seeds)
    ]
    without = [
        Scan(masks, order, (1.0, 2.0, 3.0)[number % 3], WITHOUT_GAP, 100 + number, options.boards)
        for masks, order in kinds
        for number in range(options.false_scans)
    ]
    with one_thread():
        results = {
            "patterns": COUNT,
            "light": light(),
            "rows": table(list(measure(with_gap, ways))),
            "without_gap": false_lines(list(measure(without, ways))),
        }
    report("headline", results)


if __name__ == "__main__":
    main()
