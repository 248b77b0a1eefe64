"""Runs every peer on the exported cases; started by compare.py with the peers' own interpreter.

``python run.py CASES.npz TRAINING.npz OUT.npz [--adapters NAME ...] [--minutes M]``: images (all pixels in one row,
one image after the other) and times go into OUT.npz, a peer that fails is listed with its reason. Cases without
seeds are all run, as far as the minutes last.
"""

from __future__ import annotations

import argparse
import importlib
import json
import math
import sys
import time
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from _shared import Case, timed_images
from _torchvision import declare_operators

ADAPTERS = ("spyrit_pinv", "spyrit_dc", "deepinv_pinv", "deepinv_tv", "pylops_tv", "pyproximal_tv", "bm3d_pnp")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", type=Path)
    parser.add_argument("training", type=Path, help="objects for the peers that learn; - for none")
    parser.add_argument("out", type=Path)
    parser.add_argument("--adapters", nargs="+", choices=ADAPTERS, default=ADAPTERS)
    parser.add_argument("--minutes", type=float, default=math.inf, help="for each peer")
    options = parser.parse_args()
    warnings.simplefilter("ignore")
    declare_operators()
    cases, seeds = read_cases(options.cases)
    arrays: dict[str, Any] = {}
    peers = []
    for name in options.adapters:
        print(f"peer: {name}", file=sys.stderr)
        row: dict[str, Any] = {"adapter": name}
        try:
            row |= _run(name, cases, seeds, options, arrays)
        except Exception as error:  # one peer that breaks must not cost the others
            row["why"] = f"{type(error).__name__}: {error}"
        peers.append(row)
    np.savez(options.out, peers=json.dumps(peers), **arrays)


def read_cases(path: Path) -> tuple[list[Case], np.ndarray | None]:
    """The measurements, and their seeds where the file has some."""
    with np.load(path, allow_pickle=False) as file:
        ends = np.cumsum(file["length"])[:-1]
        columns = [np.split(file[name], ends) for name in ("coefficients", "index")]
        rows = zip(*columns, file["sigma"].tolist(), file["size"].tolist(), strict=True)
        return [Case(*row) for row in rows], file.get("seed")


def _run(
    name: str, cases: list[Case], seeds: np.ndarray | None, options: argparse.Namespace, arrays: dict[str, Any]
) -> dict[str, Any]:
    adapter = importlib.import_module(name)
    if hasattr(adapter, "TRAINING"):
        adapter.TRAINING = options.training
    limit = getattr(adapter, "SEEDS", None)
    chosen = np.arange(len(cases)) if limit is None or seeds is None else np.flatnonzero(seeds < limit)
    images, times = [], []
    over = time.monotonic() + 60 * options.minutes
    for image, ms in timed_images(adapter.reconstruct, [cases[i] for i in chosen]):
        images.append(image.ravel())
        times.append(ms)
        if time.monotonic() > over:
            break
    chosen = chosen[: len(images)]
    arrays |= {f"{name}.cases": chosen, f"{name}.images": np.concatenate(images), f"{name}.ms": np.array(times)}
    return {
        "name": adapter.NAME,
        "package": f"{adapter.PACKAGE} {version(adapter.PACKAGE)}",
        "settings": adapter.SETTINGS,
        "tuned": adapter.TUNED,
        "seeds": None if seeds is None else len(set(seeds[chosen].tolist())),
    }


if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    main()
