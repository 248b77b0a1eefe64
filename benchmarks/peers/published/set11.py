"""Set11 without noise: every method's image of the same 256 x 256 pixels, at 10 and 25 %."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.peers.published import folder
from benchmarks.peers.published.networks import BLOCK, FFDNet, ISTANetPlus, OPINENetPlus
from benchmarks.peers.published.pnp import pnp_ffdnet
from benchmarks.peers.published.tuned import SCHEDULES
from benchmarks.suite import workload
from benchmarks.suite.scores import gaussian_ssim
from cxgi_bluesky.analysis.metrics import psnr
from cxgi_bluesky.masks.transform import walsh_hadamard_2d
from cxgi_bluesky.measurement.measurement import Measurement
from cxgi_bluesky.reconstruction.api import reconstruct

ORDERS = ("zig-zag", "variable-density")
OURS = ("tv", "ch-mwcnn")
PNP, ISTA, OPINE = "PnP-FFDNet", "ISTA-Net+", "OPINE-Net+"
METHODS = (*OURS, PNP, ISTA, OPINE)
TOLD_DB = 45.0  # our methods are told this, not that there is no noise at all
SEED = 0  # of the order that is drawn
Row = dict[str, Any]


@dataclass(frozen=True)
class Given:
    """What the user gave.

    Attributes
    ----------
    folder : Path, optional
        The peers' repositories.
    weights : str, optional
        Of our network; by default those of the package.
    """

    folder: Path | None = None
    weights: str | None = None

    def options(self, method: str) -> dict[str, Any]:
        """Options of one of our methods."""
        return {"weights": self.weights} if method == "ch-mwcnn" and self.weights is not None else {}

    def denoiser(self) -> FFDNet:
        """FFDNet with the weights of the folder."""
        return FFDNet(folder.ffdnet_files(self.peers()))

    def peers(self) -> Path:
        """The folder of the peers."""
        if self.folder is None:
            raise folder.NotGiven("not given: the folder of the peers")
        return self.folder


def measure(image: folder.Image, order: str, fraction: float) -> Measurement:
    """Exact coefficients of an image, shape (n, n), with the sigma that is told."""
    patterns = workload.pattern_set(order, SEED, size=len(image), fraction=fraction)
    index = patterns.pattern_index
    exact = walsh_hadamard_2d(image).ravel()[index]
    sigma = float(np.sqrt(np.mean(exact[index != 0] ** 2))) / 10 ** (TOLD_DB / 20)
    made = Measurement.from_buckets(
        patterns.size, index, exact, coding="signed", sigma=np.full(len(index), sigma), source={"snr_db": TOLD_DB}
    )
    return replace(made, scale="transmission")


def set11_rows(
    images: Mapping[str, folder.Image], methods: Sequence[str], given: Given, note: Callable[[str], None]
) -> list[Row]:
    """Scores of every method, ratio and kind of masks; a peer without its files has its reason (`why`) instead."""
    rows = []
    for method in methods:
        for ratio, fraction in folder.FRACTIONS.items():
            for masks in ORDERS if method in (*OURS, PNP) else (None,):
                note(f"Set11: {method}, {ratio} %, {masks or 'own masks'}")
                row: Row = {"method": method, "fraction": fraction, "masks": masks or _OWN_MASKS[method]}
                try:
                    row |= _scores(images, _runner(method, ratio, masks, given))
                except folder.NotGiven as error:
                    row["why"] = str(error)
                rows.append(row)
    return rows


_OWN_MASKS = {ISTA: f"Gaussian, {BLOCK} px blocks", OPINE: f"learned, {BLOCK} px blocks"}
Run = Callable[[folder.Image], tuple[folder.Image, float, int]]  # image, seconds, measurements


def _runner(method: str, ratio: int, masks: str | None, given: Given) -> Run:
    if masks is None:
        network = (
            ISTANetPlus(*folder.ista_files(given.peers(), ratio))
            if method == ISTA
            else OPINENetPlus(folder.opine_files(given.peers(), ratio))
        )
        return lambda truth: _by_blocks(network, truth)
    if method == PNP:
        denoiser = given.denoiser()
        return lambda truth: _by_patterns(
            lambda m: pnp_ffdnet(m, denoiser, SCHEDULES[None]), measure(truth, masks, ratio / 100)
        )
    options = given.options(method)
    return lambda truth: _by_patterns(
        lambda m: reconstruct(m, method=method, **options).image, measure(truth, masks, ratio / 100)
    )


def _by_blocks(network: ISTANetPlus | OPINENetPlus, truth: folder.Image) -> tuple[folder.Image, float, int]:
    with torch.inference_mode():
        measured = network.measure(torch.tensor(truth, dtype=torch.float32))
        started = time.perf_counter()
        image = network.reconstruct(measured, len(truth)).numpy().astype(np.float64)
    return image, time.perf_counter() - started, measured.numel()


def _by_patterns(
    method: Callable[[Measurement], folder.Image], measurement: Measurement
) -> tuple[folder.Image, float, int]:
    started = time.perf_counter()
    image = method(measurement)
    return image, time.perf_counter() - started, len(measurement)


def _scores(images: Mapping[str, folder.Image], run: Run) -> Row:
    """Means over the images, the PSNR for a range of 0..1; the first image is run once before, to warm up."""
    run(next(iter(images.values())))
    each, ssims, seconds = {}, [], []
    measurements = 0
    for name, truth in images.items():
        made, took, measurements = run(truth)
        image = np.clip(made, 0, 1)
        each[name] = psnr(image, truth, data_range=1.0)
        ssims.append(gaussian_ssim(image, truth))
        seconds.append(took)
    return {
        "psnr_db": float(np.mean(list(each.values()))),
        "ssim": float(np.mean(ssims)),
        "s_per_image": float(np.median(seconds)),
        "measured_share": measurements / folder.SIDE**2,
        "psnr_db_each": each,
    }
