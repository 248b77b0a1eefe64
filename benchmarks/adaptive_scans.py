"""Whole scans that choose their patterns, beside `mask_scan` in the same run.

`cost`: real time of an exposure on soft devices for 32, 64 and 128 pixels, exposures of 20 ms, scans of both kinds in
turn; the images of the one are made beside it. `gap`: the gold object, whose gap is 10 um wide, 768 exposures of 10 s:
the gap's brightness over the true one, how many of eight pieces of its length show it, its width, and in how many scans
that is right within 30 %. `claims`: the same object at 1, 3 and 10 s, 64 validation draws in both kinds of scans: the
PSNR that is claimed with its interval, and the true one. `channel access`: a scan of the Cu board over Channel Access
with motor records at their own velocities until the image has a PSNR, beside a whole `mask_scan`: seconds of beam on
the sample, of the clock, travel of the stage, PSNR claimed and true.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks._timing import report

EXPOSURE_S, ROUNDS = 0.02, 3
COUNTS = {32: 192, 64: 400, 128: 600}  # exposures of a scan whose cost is measured
SETTINGS = {"open_exposures": 1, "open_every": 0, "dark_exposures": 1}
BOARD, OBJECT, COUNT, TARGET_DB = "cu32", "CAS", 512, 20.0
EXPOSURE_CA_S, TIME_SCALE = 2.0, 0.1
GAP_COUNT, GAP_EXPOSURE_S = 768, 10.0
CLAIM_EXPOSURES_S, CLAIM_SEEDS = (1.0, 3.0, 10.0), 2


def board_of(size: int) -> Any:
    """A board of so many pixels, every pattern on it."""
    from cxgi_bluesky.masks.board import MaskBoard, load_board
    from cxgi_bluesky.masks.orders import ranking

    if size in (32, 64):
        return load_board({32: "cu32", 64: "au64"}[size])
    return MaskBoard(
        name=f"board{size}",
        size=size,
        pixel_um=10.0,
        tile_pitch_um=size * 10.0 + 40.0,
        columns=size,
        pattern_index=tuple(ranking("zig-zag", size).tolist()),
        open_tile=(-2, 0),
        metal_tile=(-2, 2),
        metal="Au",
        d_r=0.83,
        aperture_um=size * 10.0,
    )


def cost(size: int) -> dict[str, Any]:
    """Milliseconds of an exposure, of both kinds of scans in turn."""
    from bluesky import RunEngine

    from cxgi_bluesky.devices.simulated.beamline import simulated_beamline
    from cxgi_bluesky.masks.pattern_set import PatternSet
    from cxgi_bluesky.plans import adaptive_scan, mask_scan

    line, count = simulated_beamline(board_of(size), "CAS", time_scale=1.0), COUNTS[size]
    devices, engine = (line.stage, line.shutter, line.diode), RunEngine({})
    words = {"exposure_s": EXPOSURE_S, "incident_exposures": 0, **SETTINGS}
    plans = {
        "mask_scan": lambda: mask_scan(*devices, pattern_set=PatternSet(size, count), **words),
        "adaptive_scan": lambda: adaptive_scan(*devices, count=count, **words),
    }
    found: dict[str, list[float]] = {name: [] for name in plans}
    for _ in range(ROUNDS):
        for name, plan in plans.items():
            times: list[float] = []
            engine(plan(), {"event": lambda _, document, times=times: times.append(document["time"])})
            found[name].append(1e3 * statistics.median(np.diff(times)))
    ms = {name: round(min(values), 2) for name, values in found.items()}
    more = round(min(found["adaptive_scan"]) - min(found["mask_scan"]), 2)
    return {"ms_an_exposure": ms, "rounds_ms": {name: np.round(v, 2).tolist() for name, v in found.items()}} | {
        "more_ms": more,
        "must_ms": 1.0,
    }


# ---------------------------------------------------------------- the gap


def scan_gold(name: str, seed: int, exposure_s: float, **options: Any) -> tuple[Any, Any, Any]:
    """Measurement, image and truth of one scan of the gold object, 768 exposures."""
    from bluesky import RunEngine

    from cxgi_bluesky.devices.simulated.beamline import simulated_beamline
    from cxgi_bluesky.masks.pattern_set import PatternSet
    from cxgi_bluesky.measurement.measurement import Measurement
    from cxgi_bluesky.plans import adaptive_scan, mask_scan
    from cxgi_bluesky.reconstruction.api import reconstruct
    from cxgi_bluesky.reconstruction.error_model.noise import PreparedMeasurement

    line = simulated_beamline("au64", "gold", seed=seed)
    options |= {"exposure_s": exposure_s, "object_stage": line.object_stage, "validation_seed": seed}
    devices = (line.stage, line.shutter, line.diode)
    if name == "mask_scan":
        plan = mask_scan(*devices, pattern_set=PatternSet(64, GAP_COUNT), **options)
    else:
        plan = adaptive_scan(*devices, count=GAP_COUNT, seed=seed, **options)
    documents: list[Any] = []
    RunEngine({})(plan, lambda *document: documents.append(document))
    measurement = PreparedMeasurement.from_measurement(Measurement.from_documents(documents))
    return measurement, reconstruct(measurement, method="ch-mwcnn").image, line.simulation.truth


def gap(seeds: int) -> dict[str, Any]:
    """The gap by both kinds of scans: means, and the width of each scan that has one (px; true: 1.04)."""
    from benchmarks.paper.gold_gap import score_gap
    from cxgi_bluesky.analysis.metrics import psnr

    rows: dict[str, list[Any]] = {"mask_scan": [], "adaptive_scan": []}
    for seed in range(seeds):
        for name, found in rows.items():
            _, image, truth = scan_gold(name, seed, GAP_EXPOSURE_S)
            found.append((score_gap(image, truth), psnr(image, truth, data_range=1.0)))
    return {
        name: {
            "scans": len(found),
            "brightness": round(float(np.mean([score.amplitude for score, _ in found])), 2),
            "pieces_of_8": round(float(np.mean([score.segments for score, _ in found])), 1),
            "widths_px": [None if np.isnan(score.width_px) else round(score.width_px, 2) for score, _ in found],
            "right_widths": sum(score.width_is_right for score, _ in found),
            "true_psnr_db": round(float(np.mean([db for _, db in found])), 2),
        }
        for name, found in rows.items()
    }


def claims(seeds: int) -> list[dict[str, Any]]:
    """Of every scan of the gold object: what is claimed, and what is true (dB)."""
    from cxgi_bluesky.analysis.metrics import psnr
    from cxgi_bluesky.reconstruction.planning.quality import estimate_psnr

    rows = []
    for exposure_s in CLAIM_EXPOSURES_S:
        for seed in range(seeds):
            for name in ("mask_scan", "adaptive_scan"):
                measurement, image, truth = scan_gold(name, seed, exposure_s, validation=64)
                true_db = psnr(image, truth, data_range=1.0)
                found = estimate_psnr(measurement, image, draws=measurement.draws)
                assert found is not None
                low, claimed, high = (round(value, 1) for value in (found.low_db, found.psnr_db, found.high_db))
                holds = bool(found.low_db <= true_db <= found.high_db)
                row = {"scan": name, "seed": seed, "exposure_s": exposure_s, "true_db": round(true_db, 1)}
                rows.append({**row, "claimed_db": claimed, "interval_db": [low, high], "holds": holds})
    return rows


# ---------------------------------------------------------------- over Channel Access


def client(file: str) -> None:
    """Both scans, in a process of its own, as libca is set up once."""
    from bluesky import RunEngine

    from cxgi_bluesky.analysis.metrics import psnr
    from cxgi_bluesky.devices.config.load import load_beamline
    from cxgi_bluesky.masks.pattern_set import PatternSet
    from cxgi_bluesky.measurement.exposures import Exposures
    from cxgi_bluesky.measurement.measurement import Measurement
    from cxgi_bluesky.plans import adaptive_scan, mask_scan
    from cxgi_bluesky.reconstruction.cross_validation import reconstruct_and_check
    from cxgi_bluesky.simulation.objects.registry import render_object
    from cxgi_bluesky.simulation.objects.rendering import block_mean

    line, engine = load_beamline(file), RunEngine({})
    devices = (line.stage, line.shutter, line.diode)
    truth = block_mean(render_object(OBJECT, line.board.size, 4), 4)
    words: dict[str, Any] = {"exposure_s": EXPOSURE_CA_S, "object_stage": line.object_stage}
    patterns = PatternSet(line.board.size, COUNT)
    until = {"psnr_db": TARGET_DB}
    plans = {
        "mask_scan": mask_scan(*devices, pattern_set=patterns, path="snake", **words),
        "mask_scan, until": mask_scan(*devices, pattern_set=patterns, until=until, **words),
        "adaptive_scan, until": adaptive_scan(*devices, count=COUNT, until=until, **words),
    }
    results = {}
    for name, plan in plans.items():
        documents: list[Any] = []
        begun = time.monotonic()
        engine(plan, lambda *document, documents=documents: documents.append(document))
        seconds = time.monotonic() - begun
        scanned = Exposures.from_documents(documents)
        made = reconstruct_and_check(Measurement.from_exposures(scanned), method="ch-mwcnn")
        tiles = [d["data"] for n, d in documents if n == "event" and "stage_tile" in d["data"]]
        path = np.array([[tile["stage_x"], tile["stage_y"]] for tile in tiles])
        results[name] = {
            "exposures": len(scanned) + len(scanned.streams["validation"]),
            "open_s": round(scanned.figures["open_s"], 1),
            "wall_s": round(seconds, 1),
            "travel_mm": round(float(np.abs(np.diff(path, axis=0)).max(axis=1).sum()), 1),
            "true_psnr_db": round(psnr(made.image, truth, data_range=1.0), 2),
            "claimed_psnr_db": made.quality.get("psnr_db"),
            "reason": documents[-1][1]["reason"],
        }
    print(json.dumps(results), flush=True)


def channel_access() -> dict[str, Any]:
    """An IOC, and a client that scans."""
    import yaml

    from cxgi_bluesky.devices.config.load import example_path

    words = ["--json", "--time-scale", str(TIME_SCALE), "--board", BOARD, "--object", OBJECT]
    server = subprocess.Popen(
        [sys.executable, "-m", "cxgi_bluesky.cli", "ioc", *words], stdout=subprocess.PIPE, text=True
    )
    try:
        assert server.stdout is not None
        ioc = json.loads(server.stdout.readline())
        example = yaml.safe_load(example_path("ioc").read_text(encoding="utf-8"))
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "beamline.yml"
            file.write_text(yaml.safe_dump({**example, "prefix": ioc["prefix"], "board": BOARD}), encoding="utf-8")
            command = [sys.executable, "-m", "benchmarks.adaptive_scans", "--client", str(file)]
            answer = subprocess.run(
                command, stdout=subprocess.PIPE, text=True, env={**os.environ, **ioc["environment"]}, check=True
            )
    finally:
        server.terminate()
        server.communicate(timeout=15)
    scans = json.loads(answer.stdout.splitlines()[-1])
    return {"exposure_s": EXPOSURE_CA_S, "time_scale": TIME_SCALE, "target_db": TARGET_DB, **scans}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--seeds", type=int, default=6, help="scans of the gold object, of each kind")
    parser.add_argument("--claim-seeds", type=int, default=CLAIM_SEEDS, help="the same for what is claimed of it")
    parts = ("cost", "gap", "claims", "channel access")
    parser.add_argument("--parts", nargs="+", choices=parts, default=parts, help="what to measure")
    parser.add_argument("--client", help=argparse.SUPPRESS)
    options = parser.parse_args()
    logging.disable(logging.WARNING)
    if options.client:
        client(options.client)
        return
    makers: dict[str, Callable[[], Any]] = {
        "cost": lambda: {f"{size} x {size}": cost(size) for size in COUNTS},
        "gap": lambda: gap(options.seeds),
        "claims": lambda: claims(options.claim_seeds),
        "channel access": channel_access,
    }
    results = {part: makers[part]() for part in options.parts}
    report("adaptive_scans", {"exposure_s": EXPOSURE_S, **results})


if __name__ == "__main__":
    main()
