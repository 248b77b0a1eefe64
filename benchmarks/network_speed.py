"""Time of the network, one thread: single images, growing scans, many at once; precision and compilation beside it.

Baseline: the network as it was trained, in single precision, not compiled. `--compile` adds torch.compile (needs a
C++ compiler; its first image takes tens of seconds).
"""

from __future__ import annotations

import argparse
import time
from typing import Any

import numpy as np
import torch

from benchmarks._timing import milliseconds, report
from benchmarks.suite.workload import measure, truths
from cxgi_bluesky.masks.pattern_set import PatternSet
from cxgi_bluesky.measurement.measurement import Measurement
from cxgi_bluesky.reconstruction.api import reconstruct
from cxgi_bluesky.reconstruction.ch_mwcnn.inputs import PreparedInput, prepare
from cxgi_bluesky.reconstruction.ch_mwcnn.network import CHMWCNN, processor_has_bfloat16
from cxgi_bluesky.reconstruction.ch_mwcnn.predict import ch_mwcnn, ch_mwcnn_many
from cxgi_bluesky.reconstruction.ch_mwcnn.weights import load_network

MANY = 32


def scan(size: int = 64, seed: int = 0) -> Measurement:
    """Camera, 18.75 %, 30 dB."""
    image = truths()["camera"]
    if size != len(image):
        image = np.kron(image, np.ones((size // 64, size // 64))) if size > 64 else image[::2, ::2]
    return measure(image, PatternSet.from_fraction(size, 0.1875), snr_db=30.0, seed=seed)


def pictures(size: int) -> dict[str, Any]:
    """A whole reconstruction and its parts."""
    m = scan(size)
    ready, loaded = prepare(m), load_network()
    repeats = 30 if size <= 64 else 8
    with torch.inference_mode():
        forward = {
            name: milliseconds(lambda network=network: network.in_its_unit(ready.given, ready.initial), repeats)
            for name, network in (("single_precision", loaded.network), ("as_run", loaded.for_running))
        }
    return {
        "whole": milliseconds(lambda: ch_mwcnn(m), repeats),
        "error_size_and_trial": milliseconds(lambda: prepare(m), repeats),
        **forward,
        "with_sigma": milliseconds(lambda: _with_sigma(loaded.for_running, ready), repeats),
        "tv": milliseconds(lambda: reconstruct(m, method="tv"), repeats),
    }


def _with_sigma(network: CHMWCNN, ready: PreparedInput) -> None:
    with torch.inference_mode():
        network(ready.given, ready.initial, with_sigma=True)


def growing_scan() -> dict[str, float]:
    """Update of a live image after each 32 exposures, from 32 to 768."""
    m = scan()
    times = [milliseconds(lambda count=count: ch_mwcnn(m.first(count)), 5)["median"] for count in range(32, 769, 32)]
    return {"median": float(np.median(times)), "max": max(times)}


def many_at_once() -> dict[str, float]:
    """Milliseconds an image."""
    scans = [scan(seed=seed) for seed in range(MANY)]
    alone = milliseconds(lambda: [ch_mwcnn(m) for m in scans], 3)["median"] / MANY
    together = milliseconds(lambda: ch_mwcnn_many(scans), 3)["median"] / MANY
    return {"one_by_one": round(alone, 2), "together": round(together, 2), "ratio": round(alone / together, 3)}


def compiled() -> dict[str, float]:
    """First and later images of the compiled network."""
    import torch._inductor.config as inductor

    inductor.freezing = True
    ready = prepare(scan())
    network = torch.compile(load_network().for_running)
    with torch.inference_mode():
        started = time.perf_counter()
        network(ready.given, ready.initial)
        first = (time.perf_counter() - started) * 1e3
        return {"first": round(first), "later": milliseconds(lambda: network(ready.given, ready.initial))["median"]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--compile", action="store_true", help="also with torch.compile")
    options = parser.parse_args()
    torch.set_num_threads(1)
    started = time.perf_counter()
    ch_mwcnn(scan())
    results: dict[str, Any] = {
        "first_picture_ms": round((time.perf_counter() - started) * 1e3),
        "bfloat16": processor_has_bfloat16(),
        "milliseconds": {str(size): pictures(size) for size in (32, 64, 128, 256)},
        "live_update_ms": growing_scan(),
        "many_ms": many_at_once(),
    }
    if options.compile:
        results["compiled_ms"] = compiled()
    report("network_speed", results)


if __name__ == "__main__":
    main()
