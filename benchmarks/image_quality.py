"""Image quality and time of each method, against the zero-filled inverse of the same coefficients.

Five 64 x 64 objects (camera, astronaut, coins, Shepp-Logan phantom, the letters CAS), 768 of 4096
patterns, Gaussian noise of 30 or 20 dB under the measured coefficients, five seeds, outputs cut to
[0, 1]. The measured files, if their folder is given, at 192 of 1024 patterns against their own full
inverse after an affine fit.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import numpy as np
from _timing import milliseconds, report
from matplotlib import get_data_path
from PIL import Image, ImageDraw, ImageFont
from skimage import data
from skimage.transform import resize

from cxgi_bluesky.measurement import Measurement
from cxgi_bluesky.patterns import PatternSet, walsh_hadamard_2d
from cxgi_bluesky.quality import affine_fit, cnr, psnr, ssim
from cxgi_bluesky.reconstruction import METHODS, reconstruct

SIZE, FRACTION = 64, 0.1875


def objects() -> dict[str, np.ndarray]:
    out = {}
    for name in ("camera", "astronaut", "coins", "shepp_logan_phantom"):
        image = np.asarray(getattr(data, name)(), dtype=float)
        image = image @ [0.2125, 0.7154, 0.0721] if image.ndim == 3 else image
        side = min(image.shape)
        top, left = (np.array(image.shape) - side) // 2
        small = resize(image[top : top + side, left : left + side], (SIZE, SIZE), anti_aliasing=True)
        out[name] = (small - small.min()) / np.ptp(small)
    canvas = Image.new("L", (SIZE, SIZE), 0)
    font = ImageFont.truetype(f"{get_data_path()}/fonts/ttf/DejaVuSans-Bold.ttf", 27)
    ImageDraw.Draw(canvas).text((SIZE / 2, SIZE / 2), "CAS", fill=255, font=font, anchor="mm")
    out["CAS"] = (np.asarray(canvas) > 127).astype(float)
    return out


def measure(image: np.ndarray, order: str, snr_db: float, seed: int) -> Measurement:
    index = PatternSet.from_fraction(SIZE, FRACTION, order).pattern_index
    exact = walsh_hadamard_2d(image).ravel()[index]
    sigma = float(np.sqrt(np.mean(exact[index != 0] ** 2))) / 10 ** (snr_db / 20)
    noise = sigma * np.random.default_rng(seed).normal(size=len(index))
    return Measurement.from_buckets(SIZE, index, exact + noise, coding="signed", sigma=np.full(len(index), sigma))


def quality(order: str, snr_db: float, seeds: int) -> dict[str, Any]:
    results: dict[str, Any] = {}
    for method in ("inverse", "tv", "ch-mwcnn"):
        scores = {name: [] for name in objects()}
        for name, truth in objects().items():
            for seed in range(seeds):
                image = np.clip(reconstruct(measure(truth, order, snr_db, seed), method=method).image, 0, 1)
                scores[name].append((psnr(image, truth), ssim(image, truth), cnr(image, truth)))
        mean = {name: np.mean(rows, axis=0) for name, rows in scores.items()}
        results[method] = {
            "psnr_db": round(float(np.mean([m[0] for m in mean.values()])), 2),
            "ssim": round(float(np.mean([m[1] for m in mean.values()])), 3),
            "cas_cnr": round(float(mean["CAS"][2]), 2),
            "psnr_db_each": {name: round(float(m[0]), 2) for name, m in mean.items()},
        }
    for method in results:
        results[method]["psnr_db_over_inverse"] = round(results[method]["psnr_db"] - results["inverse"]["psnr_db"], 2)
    return results


def measured_files(folder: Path) -> dict[str, Any]:
    results: dict[str, Any] = {}
    for file in sorted(folder.glob("*.csv")):
        full = Measurement.from_csv(file, size=32, coding="signed")
        reference = reconstruct(full, method="inverse").image
        part = full.subset(PatternSet.from_fraction(32, FRACTION))
        fits = {m: affine_fit(reconstruct(part, method=m).image, reference) for m in ("inverse", "tv", "ch-mwcnn")}
        results[file.stem] = {m: round(psnr(image, reference), 2) for m, image in fits.items()}
    gain = {m: np.mean([r[m] - r["inverse"] for r in results.values()]) for m in ("tv", "ch-mwcnn")} if results else {}
    return {"psnr_db_after_affine_fit": results, "mean_gain_db": {m: round(float(g), 2) for m, g in gain.items()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--measured", type=Path, help="folder of measured 32 x 32 files")
    options = parser.parse_args()
    results: dict[str, Any] = {"seeds": options.seeds}
    for order in ("cake-cutting", "zig-zag"):
        for snr_db in (30.0, 20.0):
            results[f"{order} {snr_db:.0f} dB"] = quality(order, snr_db, options.seeds)
    m = measure(objects()["camera"], "cake-cutting", 30.0, 0)
    results["ms_64x64"] = {method: milliseconds(lambda x=method: reconstruct(m, method=x)) for method in METHODS}
    if options.measured is not None:
        results["measured"] = measured_files(options.measured)
    report("image_quality", results)


if __name__ == "__main__":
    main()
