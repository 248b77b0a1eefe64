"""Fast 2-D Walsh-Hadamard transform against two products with the n x n matrix."""

from __future__ import annotations

import numpy as np
from scipy.linalg import hadamard

from benchmarks._timing import milliseconds, report
from cxgi_bluesky.masks.transform import walsh_hadamard_2d


def main() -> None:
    rows = []
    for size in (32, 64, 128, 256, 512, 1024):
        image = np.random.default_rng(0).normal(size=(size, size)).astype(np.float32)
        matrix = hadamard(size).astype(np.float32)
        fast = milliseconds(lambda x=image: walsh_hadamard_2d(x))
        dense = milliseconds(lambda x=image, h=matrix: h @ x @ h)
        ratio = round(dense["median"] / fast["median"], 2)
        rows.append({"size": size, "fast_ms": fast, "n_x_n_matrix_ms": dense, "matrix_over_fast": ratio})
    report("transform", {"float32": rows})


if __name__ == "__main__":
    main()
