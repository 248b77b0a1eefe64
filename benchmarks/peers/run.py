"""Runs every peer on the exported cases; started by compare.py with the peers' own interpreter.

``python run.py CASES.npz TRAINING.npz OUT.npz [SEEDS]``: images and times go into OUT.npz, a peer that fails
is listed with its reason.
"""

from __future__ import annotations

import importlib
import json
import sys
import warnings
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from _shared import Case, timed_images
from _torchvision import declare_operators

ADAPTERS = ("spyrit_pinv", "spyrit_dc", "deepinv_pinv", "deepinv_tv", "pylops_tv", "pyproximal_tv", "bm3d_pnp")


def main() -> None:
    cases_file, training, out = (Path(argument) for argument in sys.argv[1:4])
    warnings.simplefilter("ignore")
    declare_operators()
    with np.load(cases_file, allow_pickle=False) as file:
        seeds = file["seed"]
        cases = [
            Case(*row)
            for row in zip(
                file["coefficients"], file["index"], file["sigma"].tolist(), file["size"].tolist(), strict=True
            )
        ]
    arrays: dict[str, Any] = {}
    peers = []
    for name in ADAPTERS:
        print(f"peer: {name}", file=sys.stderr)
        row: dict[str, Any] = {"adapter": name}
        try:
            row |= _run(name, cases, seeds, training, arrays)
        except Exception as error:  # one peer that breaks must not cost the others
            row["why"] = f"{type(error).__name__}: {error}"
        peers.append(row)
    np.savez(out, peers=json.dumps(peers), **arrays)


def _run(name: str, cases: list[Case], seeds: np.ndarray, training: Path, arrays: dict[str, Any]) -> dict[str, Any]:
    adapter = importlib.import_module(name)
    if hasattr(adapter, "TRAINING"):
        adapter.TRAINING = training
    limit = getattr(adapter, "SEEDS", None)
    chosen = np.arange(len(cases)) if limit is None else np.flatnonzero(seeds < limit)
    images, times = zip(*timed_images(adapter.reconstruct, [cases[i] for i in chosen]), strict=True)
    arrays |= {f"{name}.cases": chosen, f"{name}.images": np.array(images), f"{name}.ms": np.array(times)}
    return {
        "name": adapter.NAME,
        "package": f"{adapter.PACKAGE} {version(adapter.PACKAGE)}",
        "settings": adapter.SETTINGS,
        "tuned": adapter.TUNED,
        "seeds": len(set(seeds[chosen].tolist())),
    }


if __name__ == "__main__":
    import torch

    torch.set_num_threads(1)
    main()
