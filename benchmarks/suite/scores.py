"""Scores of one image of the workload, and their means over images and seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from cxgi_bluesky.analysis.metrics import affine_fit, cnr, psnr
from cxgi_bluesky.reconstruction.result import Reconstruction

Image = NDArray[Any]


@dataclass(frozen=True)
class Scores:
    """PSNR (dB), SSIM and CNR of an image cut to [0, 1]."""

    psnr_db: float
    ssim: float
    cnr: float


def scale_to_truth(made: Reconstruction, truth: Image) -> Image:
    """The image; if its method gives no transmission (a correlation), its affine fit to the truth."""
    return affine_fit(made.image, truth) if made.scale == "relative" else made.image


def score(image: Image, truth: Image) -> Scores:
    """Scores of an image, cut to [0, 1], against a truth of range 0..1."""
    cut = np.clip(np.asarray(image, dtype=np.float64), 0, 1)
    return Scores(psnr(cut, truth), gaussian_ssim(cut, truth), cnr(cut, truth))


def gaussian_ssim(image: Image, truth: Image) -> float:
    """SSIM as in Wang et al. (2004): Gaussian window of 1.5 px, range 1."""
    from skimage.metrics import structural_similarity

    value = structural_similarity(
        image, truth, data_range=1.0, gaussian_weights=True, sigma=1.5, use_sample_covariance=False
    )
    return float(value)


def mean_scores(scores: Mapping[str, Sequence[Scores]]) -> dict[str, Any]:
    """Means over seeds, then over images; the CNR is that of CAS alone.

    Parameters
    ----------
    scores : mapping
        Image name to the scores of its seeds.
    """
    psnr_db = {name: float(np.mean([s.psnr_db for s in rows])) for name, rows in scores.items()}
    row = {
        "psnr_db": float(np.mean(list(psnr_db.values()))),
        "ssim": float(np.mean([np.mean([s.ssim for s in rows]) for rows in scores.values()])),
        "psnr_db_each": psnr_db,
    }
    if "CAS" in scores:
        row["cas_cnr"] = float(np.mean([s.cnr for s in scores["CAS"]]))
    return row
